#!/usr/bin/env python3
"""Our dense index beside hnswlib, faiss and usearch: recall against speed, build time and memory, on the same vectors.

    fitment-load vectors --tsv packages.tsv --summary-column 4 --count 100000 --out VECTORS
    pip install -r benches/peers/index-requirements.txt
    benches/peers/index.py --vectors VECTORS --load target/release/fitment-load --out OUT

Every system builds on the same threads, and answers one query at a time on one thread, in a process of its own, so that
memory is its own too: what lies in memory once the index is loaded and every query was asked, less what did before. Each is tried
with several settings of its graph; of the points that reach a recall, the fastest counts.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy

K = 10
EFFORTS = [16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 384, 512]
TARGETS = [0.95, 0.99]
# Two scores this close are equal.
EQUAL = 1e-5


def resident():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


class Hnswlib:
    def __init__(self, rows, m, ef, threads):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=rows.shape[1])
        self.index.init_index(max_elements=len(rows), ef_construction=ef, M=m)
        self.index.add_items(rows, num_threads=threads)
        self.index.set_num_threads(1)

    def save(self, path):
        self.index.save_index(path)

    @classmethod
    def load(cls, path, dimension):
        import hnswlib

        self = cls.__new__(cls)
        self.index = hnswlib.Index(space="ip", dim=dimension)
        self.index.load_index(path)
        self.index.set_num_threads(1)
        return self

    def effort(self, ef):
        self.index.set_ef(ef)

    def ask(self, query):
        return self.index.knn_query(query, k=K)[0][0]


class Faiss:
    kind = None

    def __init__(self, rows, m, ef, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        self.index = self.make(faiss, rows.shape[1], m)
        self.index.hnsw.efConstruction = ef
        if not self.index.is_trained:
            self.index.train(rows)
        self.index.add(rows)

    def save(self, path):
        import faiss

        faiss.write_index(self.index, path)

    @classmethod
    def load(cls, path, dimension):
        import faiss

        faiss.omp_set_num_threads(1)
        self = cls.__new__(cls)
        self.index = faiss.read_index(path)
        return self

    def effort(self, ef):
        self.index.hnsw.efSearch = ef

    def ask(self, query):
        return self.index.search(query[None], K)[1][0]


class FaissFlat(Faiss):
    @staticmethod
    def make(faiss, dimension, m):
        return faiss.IndexHNSWFlat(dimension, m, faiss.METRIC_INNER_PRODUCT)


class FaissCodes(Faiss):
    @staticmethod
    def make(faiss, dimension, m):
        return faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_8bit, m, faiss.METRIC_INNER_PRODUCT)


class Usearch:
    dtype = "f32"

    def __init__(self, rows, m, ef, threads):
        from usearch.index import Index

        self.index = Index(ndim=rows.shape[1], metric="ip", dtype=self.dtype, connectivity=m, expansion_add=ef)
        self.index.add(numpy.arange(len(rows)), rows, threads=threads)

    def save(self, path):
        self.index.save(path)

    @classmethod
    def load(cls, path, dimension):
        from usearch.index import Index

        self = cls.__new__(cls)
        self.index = Index(ndim=dimension, metric="ip", dtype=cls.dtype)
        self.index.load(path)
        return self

    def effort(self, ef):
        self.index.expansion_search = ef

    def ask(self, query):
        return self.index.search(query, K, threads=1).keys


class UsearchHalf(Usearch):
    dtype = "f16"


class UsearchCodes(Usearch):
    dtype = "i8"


SYSTEMS = {
    "hnswlib f32": Hnswlib,
    "faiss f32": FaissFlat,
    "faiss sq8": FaissCodes,
    "usearch f32": Usearch,
    "usearch f16": UsearchHalf,
    "usearch i8": UsearchCodes,
}


def read(path, dimension, most=None):
    numbers = numpy.fromfile(path, dtype="<f4", count=-1 if most is None else most * dimension)
    return numbers.reshape(-1, dimension)


def hits(rows, query, answer, least):
    """Rows that score as much as the tenth nearest stand for each other: many texts are equal."""
    found = [int(key) for key in answer if 0 <= int(key) < len(rows)]
    return int(numpy.count_nonzero(rows[found] @ query >= least - EQUAL))


def measure(name, path, arguments, truth):
    """In a process of its own: loads, asks, and prints a line a setting."""
    queries = read(os.path.join(arguments.vectors, "queries.f32"), arguments.dimension)[: len(truth)].copy()
    # Not part of an index's memory.
    importlib.import_module({"hnswlib": "hnswlib", "faiss": "faiss", "usearch": "usearch.index"}[name.split()[0]])
    before = resident()
    index = SYSTEMS[name].load(path, arguments.dimension)
    points, answers = [], []
    for effort in EFFORTS:
        index.effort(effort)
        for query in queries[:50]:
            index.ask(query)
        times, given = [], []
        for query in queries:
            started = time.perf_counter()
            answer = index.ask(query)
            times.append(time.perf_counter() - started)
            given.append(answer)
        times.sort()
        answers.append(given)
        points.append(
            {
                "effort": effort,
                "p50_ms": times[len(times) // 2] * 1e3,
                "p99_ms": times[int(len(times) * 0.99)] * 1e3,
                "qps": len(times) / sum(times),
            }
        )
    memory = resident() - before
    rows = read(os.path.join(arguments.vectors, "rows.f32"), arguments.dimension, arguments.count)
    for point, given in zip(points, answers):
        point["recall"] = sum(map(lambda one: hits(rows, *one), zip(queries, given, truth))) / (len(truth) * K)
    print(json.dumps({"points": points, "resident": memory}))


def of_fitment(arguments, m, ef, folder):
    command = [arguments.load, "index", "--json", "--vectors", arguments.vectors, "--count", str(arguments.count)]
    command += ["--dimension", str(arguments.dimension), "--queries", str(arguments.queries), "--filters", "100"]
    command += ["--segment", os.path.join(folder, "fitment"), "--threads", str(arguments.threads)]
    command += ["--m", str(m), "--ef-construction", str(ef), "--efforts", ",".join(map(str, EFFORTS))]
    # Built by one process and measured in the next, as the others are.
    runs = [subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines() for _ in range(2)]
    lines = [json.loads(line) for line in runs[0][:1] + runs[1]]
    build = next(line for line in lines if line["what"] == "build")
    memory = next(line for line in lines if line["what"] == "memory")
    searches = {line["effort"]: line for line in lines if line["what"] == "search"}
    points = [
        {
            "effort": int(effort),
            "recall": line["recall_at_10"],
            "p50_ms": line["p50_ms"],
            "p99_ms": line["p99_ms"],
            "qps": line["queries_per_second"],
        }
        for effort, line in searches.items()
    ]
    os.remove(os.path.join(folder, "fitment"))
    return {"points": points, "resident": memory["resident_mb"] * 1e6, "build": build["seconds"]}


def fastest(runs, recall):
    good = [(point["qps"], point, run) for run in runs for point in run["points"] if point["recall"] >= recall]
    return max(good, key=lambda one: one[0], default=None)


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, runs in results.items():
        points = sorted((point["recall"], point["qps"]) for run in runs for point in run["points"])
        # The outer line: what no other setting beats in both.
        outer = [one for one in points if not any(other[0] >= one[0] and other[1] > one[1] for other in points)]
        axes.plot(*zip(*outer), marker="o", markersize=3, linewidth=2 if name == "fitment" else 1, label=name)
    axes.set(xlabel="recall@10", ylabel="queries a second, one thread", yscale="log", xlim=(0.8, 1.0))
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", required=True, help="folder with rows.f32 and queries.f32")
    parser.add_argument("--load", default="target/release/fitment-load", help="our load generator")
    parser.add_argument("--out", required=True, help="folder for index.json, index.md and index.svg")
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="that build")
    parser.add_argument("--graphs", default="16:128,24:200,32:256", help="settings of the graph: M:ef_construction")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--measure", nargs=2, metavar=("SYSTEM", "INDEX"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    truth_path = os.path.join(arguments.out, "truth.npy")
    if arguments.measure:
        measure(*arguments.measure, arguments, numpy.load(truth_path))
        return
    rows = read(os.path.join(arguments.vectors, "rows.f32"), arguments.dimension, arguments.count)
    queries = read(os.path.join(arguments.vectors, "queries.f32"), arguments.dimension, arguments.queries)
    # [queries], score of the tenth nearest row.
    numpy.save(truth_path, numpy.concatenate([-numpy.partition(-(part @ rows.T), K - 1, axis=1)[:, K - 1] for part in numpy.array_split(queries, 20)]))
    results = {"fitment": []}
    with tempfile.TemporaryDirectory() as folder:
        for graph in arguments.graphs.split(","):
            m, ef = map(int, graph.split(":"))
            print(f"fitment, M {m}, ef_construction {ef}", file=sys.stderr)
            results["fitment"].append({"m": m, "ef": ef, **of_fitment(arguments, m, ef, folder)})
            for name in arguments.systems.split(","):
                print(f"{name}, M {m}, ef_construction {ef}", file=sys.stderr)
                path = os.path.join(folder, "index")
                started = time.perf_counter()
                SYSTEMS[name](rows, m, ef, arguments.threads).save(path)
                built = time.perf_counter() - started
                again = [sys.executable, __file__, "--vectors", arguments.vectors, "--out", arguments.out]
                again += ["--dimension", str(arguments.dimension), "--count", str(arguments.count)]
                again += ["--measure", name, path]
                told = json.loads(subprocess.run(again, check=True, stdout=subprocess.PIPE).stdout)
                results.setdefault(name, []).append({"m": m, "ef": ef, "build": built, **told})
                os.remove(path)
    with open(os.path.join(arguments.out, "index.json"), "w") as file:
        json.dump({"rows": len(rows), "threads": arguments.threads, "systems": results}, file, indent=1)
    head = ["system"] + [f"recall {recall}: q/s, p50 ms, MB, build s (M)" for recall in TARGETS]
    table = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, runs in results.items():
        cells = [name]
        for recall in TARGETS:
            best = fastest(runs, recall)
            if best is None:
                cells.append(f"not reached ({max(point['recall'] for run in runs for point in run['points']):.3f})")
            else:
                _, point, run = best
                cells.append(
                    f"{point['qps']:.0f}, {point['p50_ms']:.3f}, {run['resident'] / 1e6:.0f}, {run['build']:.0f} ({run['m']})"
                )
        table.append("| " + " | ".join(cells) + " |")
    print("\n".join(table))
    with open(os.path.join(arguments.out, "index.md"), "w") as file:
        file.write("\n".join(table) + "\n")
    plot(results, os.path.join(arguments.out, "index.svg"))


if __name__ == "__main__":
    main()
