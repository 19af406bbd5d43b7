"""Reads a page of metrics from standard input with Prometheus' own parser; prints its samples as one JSON object.

A key is a sample's name and its sorted labels; a value that is not a number is null. Ends with an error when a metric
has no type or no help, or when a sample comes twice.
"""

import json
import math
import sys

from prometheus_client.parser import text_string_to_metric_families

samples = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    if family.type not in ("counter", "gauge", "histogram"):
        sys.exit(f"{family.name} is of type {family.type}")
    if not family.documentation:
        sys.exit(f"{family.name} has no help")
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        key = f"{sample.name}{{{labels}}}"
        if key in samples:
            sys.exit(f"{key} comes twice")
        samples[key] = None if math.isnan(sample.value) else sample.value
json.dump(samples, sys.stdout)
