"""Holds the dashboard to Grafana's own data model: it is read and written again by Grafana's SDK, and nothing of it may be lost or changed.

Usage: dashboard.py; needs grafana-foundation-sdk (packaging/tests/requirements.txt). What its queries answer is observability.py's.
"""

import itertools
import json
import pathlib

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from grafana_foundation_sdk.models.prometheus import Dataquery

DASHBOARD = pathlib.Path(__file__).resolve().parents[1] / "observability" / "dashboard.json"


def differences(ours, theirs, place=""):
    """What is in our document and is not, or is something else, in theirs; they may add defaults."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from differences(value, theirs[key], f"{place}.{key}")
            elif value is not None:
                yield f"{place}.{key} is not known"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, (one, other) in enumerate(zip(ours, theirs)):
            yield from differences(one, other, f"{place}[{i}]")
    elif ours != theirs:
        yield f"{place} is {ours!r}, and {theirs!r} once it is read"


def overlap(one, other):
    a, b = one["gridPos"], other["gridPos"]
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def main():
    register_default_plugins()
    ours = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    read = Dashboard.from_json(ours)
    found = list(differences(ours, json.loads(json.dumps(read, cls=JSONEncoder))))
    assert not found, "\n".join(found)

    panels = ours["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids)), "two panels have one id"
    for one, other in itertools.combinations(panels, 2):
        assert not overlap(one, other), f"{one['title']} lies over {other['title']}"
    shown = [panel for panel in panels if panel["type"] != "row"]
    for panel in shown:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, f"{panel['title']} is wider than the page"
        assert panel["description"] and panel["targets"], panel["title"]
    queries = [target for panel in read.panels if panel.type_val != "row" for target in panel.targets]
    assert all(isinstance(query, Dataquery) for query in queries)
    print(f"read by Grafana's SDK without a loss: {len(panels) - len(shown)} rows, {len(shown)} panels, {len(queries)} queries")


if __name__ == "__main__":
    main()
