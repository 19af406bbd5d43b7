"""Measures a TREC run with pytrec_eval and prints the figures as JSON.

usage: trec_eval.py QRELS RUN

Every query of the qrels that has a relevant document counts; one that the run does not hold counts as 0.
"""

import collections
import json
import sys

import pytrec_eval

MEASURES = (
    "map",
    "recip_rank",
    "ndcg_cut_5",
    "ndcg_cut_10",
    "P_1",
    "P_5",
    "P_10",
    "recall_5",
    "recall_10",
    "success_1",
    "success_5",
    "success_10",
)


def rows(path, n_fields):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            fields = line.split()
            if fields:
                assert len(fields) == n_fields, line
                yield fields


def main(qrels_path, run_path):
    qrels = collections.defaultdict(dict)
    for query, _, document, grade in rows(qrels_path, 4):
        qrels[query][document] = int(grade)
    qrels = {query: grades for query, grades in qrels.items() if max(grades.values()) > 0}
    run = collections.defaultdict(dict)
    for query, _, document, _, score, _ in rows(run_path, 6):
        run[query][document] = float(score)
    found = pytrec_eval.RelevanceEvaluator(qrels, set(MEASURES)).evaluate(dict(run))
    zero = dict.fromkeys(MEASURES, 0.0)
    per_query = {query: {name: found.get(query, zero)[name] for name in MEASURES} for query in sorted(qrels)}
    mean = {name: sum(values[name] for values in per_query.values()) / max(len(per_query), 1) for name in MEASURES}
    json.dump({"n": len(per_query), "mean": mean, "per_query": per_query}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
