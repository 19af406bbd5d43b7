"""Times the encoder of Fitment beside other runtimes: same model, same token ids, same thread budget, in turns.

    python3 -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release --workspace --bins
    peers/bin/python benches/peers/compare.py --threads 2 --plot peers.svg

Forward passes only, tokenising left out on all sides. Each round asks every runtime once, so that a machine whose speed
drifts drifts for all. Each figure is the median of the rounds' medians; p99 is over all passes. Peers run in this process, each with
its own thread setting; Fitment runs as `fitment-load forward`, once a round.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

WORDS = ["pay", "show", "find", "read", "send", "book", "list", "plan"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(os.environ.get("FITMENT_MODELS_DIR", pathlib.Path.home() / ".cache/fitment/models"))
    parser.add_argument("--model", type=pathlib.Path, default=default / "all-MiniLM-L6-v2", help="the model's folder")
    parser.add_argument("--load", default="target/release/fitment-load", help="the load generator")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tokens", type=int, nargs="+", default=[8, 16, 32, 128])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure of each round")
    parser.add_argument("--kernels", default="", help="kernels of Fitment, separated by commas; empty: all it has")
    parser.add_argument("--only", nargs="+", default=[], help="peers whose name begins with one of these")
    parser.add_argument("--plot", help="write a picture here (.svg or .png)")
    parser.add_argument("--json", help="write the figures here")
    return parser.parse_args()


def bare_tokenizer(folder):
    """The model's tokenizer without the padding and truncation that its file may ask for."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def batch_ids(tokenizer, batch, tokens):
    """Ids of `batch` different texts of exactly `tokens` tokens, the same that `fitment-load forward` makes."""
    texts = [" ".join(WORDS[(n + text) % len(WORDS)] for n in range(tokens - 2)) for text in range(batch)]
    ids = [tokenizer.encode(text).ids for text in texts]
    assert all(len(one) == tokens for one in ids), [len(one) for one in ids]
    return ids


class Peers:
    """Every peer as a function from a numpy array of ids to pooled unit vectors."""

    def __init__(self, folder, threads, only):
        self.folder, self.threads, self.only = folder, threads, only
        self.made = {}

    def wanted(self, name):
        return not self.only or any(name.startswith(start) for start in self.only)

    def add(self, name, make):
        if not self.wanted(name):
            return
        try:
            self.made[name] = make()
            print(f"ready: {name}", file=sys.stderr)
        except Exception as error:  # A peer that cannot be set up is reported, and the others are timed.
            print(f"left out: {name}: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)

    def all(self):
        import numpy as np
        import torch

        torch.set_num_threads(self.threads)
        torch.set_grad_enabled(False)
        from transformers import AutoModel

        model = AutoModel.from_pretrained(self.folder, attn_implementation="sdpa").eval()

        class Pooled(torch.nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, input_ids, attention_mask):
                states = self.inner(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
                return torch.nn.functional.normalize(states.mean(1).float(), dim=-1)

        def torch_peer(inner):
            pooled = Pooled(inner)

            def run(ids):
                ids = torch.from_numpy(ids)
                return pooled(ids, torch.ones_like(ids)).numpy()

            return run

        self.add("torch f32", lambda: torch_peer(model))
        self.add("torch bf16", lambda: torch_peer(AutoModel.from_pretrained(self.folder, dtype=torch.bfloat16).eval()))

        def sentence_transformers():
            from sentence_transformers import SentenceTransformer, models

            encoder = SentenceTransformer(
                modules=[models.Transformer(str(self.folder)), models.Pooling(model.config.hidden_size), models.Normalize()],
                device="cpu",
            )
            tokenizer = encoder.tokenizer

            def run(ids):
                texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
                return encoder.encode(texts, batch_size=len(texts))

            return run

        self.add("sentence-transformers .encode (with tokenising)", sentence_transformers)

        onnx_path = pathlib.Path(tempfile.mkdtemp()) / "model.onnx"

        def export():
            ids = torch.ones((2, 16), dtype=torch.long)
            plain = AutoModel.from_pretrained(self.folder, attn_implementation="eager").eval()
            torch.onnx.export(
                Pooled(plain),
                (ids, torch.ones_like(ids)),
                str(onnx_path),
                input_names=["input_ids", "attention_mask"],
                output_names=["vectors"],
                dynamic_axes={name: {0: "batch", 1: "tokens"} for name in ["input_ids", "attention_mask"]},
                opset_version=17,
                dynamo=False,
            )

        if any(self.wanted(name) for name in ["onnxruntime f32", "onnxruntime int8", "openvino"]):
            export()

        def onnx_peer(path):
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            return lambda ids: session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]

        self.add("onnxruntime f32", lambda: onnx_peer(onnx_path))

        def onnx_int8():
            from onnxruntime.quantization import QuantType, quantize_dynamic

            path = onnx_path.with_name("int8.onnx")
            quantize_dynamic(onnx_path, path, weight_type=QuantType.QInt8, per_channel=True)
            return onnx_peer(path)

        self.add("onnxruntime int8", onnx_int8)

        def openvino_peer(precision, quantise=False):
            import openvino

            core = openvino.Core()
            converted = core.read_model(onnx_path)
            if quantise:
                import nncf

                tokenizer = bare_tokenizer(self.folder)
                samples = [np.array(batch_ids(tokenizer, 1, length)) for length in range(6, 60)]
                data = nncf.Dataset(samples, lambda ids: {"input_ids": ids, "attention_mask": np.ones_like(ids)})
                converted = nncf.quantize(
                    converted,
                    data,
                    model_type=nncf.ModelType.TRANSFORMER,
                    advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alpha=0.6),
                )
            settings = {
                "INFERENCE_NUM_THREADS": self.threads,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": precision,
            }
            request = core.compile_model(converted, "CPU", settings).create_infer_request()

            def run(ids):
                request.infer({"input_ids": ids, "attention_mask": np.ones_like(ids)}, share_inputs=True)
                return request.get_output_tensor(0).data

            return run

        self.add("openvino f32", lambda: openvino_peer("f32"))
        self.add("openvino bf16", lambda: openvino_peer("bf16"))
        self.add("openvino int8", lambda: openvino_peer("bf16", quantise=True))
        return self.made


def timed(run, ids, seconds):
    end = time.perf_counter() + seconds / 5
    while time.perf_counter() < end:
        run(ids)
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 5:
        start = time.perf_counter()
        run(ids)
        taken.append((time.perf_counter() - start) * 1e3)
    return taken


def fitment(options):
    """(kernel, batch, tokens) -> (p50, p99), both in milliseconds."""
    command = [options.load, "forward", "--json", "--threads", str(options.threads), "--seconds", str(options.seconds)]
    command += ["--tokens", ",".join(map(str, options.tokens)), "--batches", ",".join(map(str, options.batches))]
    if options.kernels:
        command += ["--kernels", options.kernels]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    figures = map(json.loads, lines)
    return {(f"fitment {one['kernel']}", one["batch"], one["tokens"]): (one["p50_ms"], one["p99_ms"]) for one in figures}


def main():
    options = arguments()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import numpy as np

    tokenizer = bare_tokenizer(options.model)
    shapes = [(batch, tokens) for batch in options.batches for tokens in options.tokens]
    inputs = {shape: np.array(batch_ids(tokenizer, *shape), dtype=np.int64) for shape in shapes}
    peers = Peers(options.model, options.threads, options.only).all()

    probe = inputs[shapes[0]]
    reference = peers["torch f32"](probe) if "torch f32" in peers else None
    cosines = {}
    if reference is not None:
        for name, run in peers.items():
            cosines[name] = float(np.mean(np.sum(reference * np.asarray(run(probe)), axis=1)))

    medians, tails = {}, {}
    for round_number in range(options.rounds):
        print(f"round {round_number + 1} of {options.rounds}", file=sys.stderr)
        for shape in shapes:
            for name, run in peers.items():
                taken = timed(run, inputs[shape], options.seconds)
                medians.setdefault((name, *shape), []).append(statistics.median(taken))
                tails.setdefault((name, *shape), []).extend(taken)
        for key, (p50, p99) in fitment(options).items():
            medians.setdefault(key, []).append(p50)
            tails.setdefault(key, []).append(p99)

    figures = []
    for key, rounds in medians.items():
        name, batch, tokens = key
        tail = statistics.median(tails[key]) if name.startswith("fitment") else float(np.quantile(tails[key], 0.99))
        p50 = statistics.median(rounds)
        figures.append(
            {"system": name, "batch": batch, "tokens": tokens, "p50_ms": p50, "p99_ms": tail, "texts_per_second": batch / p50 * 1e3}
        )
    versions = {name: importlib.metadata.version(name) for name in ["torch", "transformers", "onnxruntime", "openvino", "nncf", "sentence-transformers"]}
    report(options, figures, cosines, versions)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"versions": versions, "threads": options.threads, "figures": figures}, indent=1))
    if options.plot:
        plot(options, figures)


def report(options, figures, cosines, versions):
    print(f"threads {options.threads}; rounds {options.rounds} of {options.seconds} s; " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    shapes = sorted({(one["batch"], one["tokens"]) for one in figures})
    names = sorted({one["system"] for one in figures}, key=lambda name: (not name.startswith("fitment"), name))
    at = {(one["system"], one["batch"], one["tokens"]): one for one in figures}
    print("| p50 (p99) ms | " + " | ".join(f"{b} x {t}" for b, t in shapes) + " | cosine to torch f32 |")
    print("|---|" + "---|" * (len(shapes) + 1))
    for name in names:
        cells = [f"{at[(name, b, t)]['p50_ms']:.2f} ({at[(name, b, t)]['p99_ms']:.2f})" for b, t in shapes]
        cosine = f"{cosines[name]:.5f}" if name in cosines else ""
        print(f"| {name} | " + " | ".join(cells) + f" | {cosine} |")


def plot(options, figures):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    single = [one for one in figures if one["batch"] == 1]
    lengths = sorted({one["tokens"] for one in single})
    names = sorted({one["system"] for one in single}, key=lambda name: (not name.startswith("fitment"), name))
    families = {"fitment": "Blues", "onnxruntime": "Oranges", "openvino": "Purples", "torch": "Reds", "sentence": "Greys"}
    members = {family: [name for name in names if name.startswith(family)] for family in families}

    def colour(name):
        family = next(family for family in families if name.startswith(family))
        shade = 0.45 + 0.45 * (members[family].index(name) + 1) / len(members[family])
        return matplotlib.colormaps[families[family]](shade)

    picture, axes = plt.subplots(figsize=(12, 5))
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        values = [next(one["p50_ms"] for one in single if one["system"] == name and one["tokens"] == t) for t in lengths]
        bars = [n + place * width for n in range(len(lengths))]
        axes.bar(bars, values, width, label=name, color=colour(name))
    axes.set_yscale("log")
    axes.set_xticks([n + 0.4 for n in range(len(lengths))], [f"{t} tokens" for t in lengths])
    axes.set_ylabel("one text, p50, ms (log scale)")
    axes.set_title(f"Forward pass, {options.model.name}, {options.threads} threads")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.grid(axis="y", alpha=0.3)
    picture.tight_layout()
    picture.savefig(options.plot)


if __name__ == "__main__":
    main()
