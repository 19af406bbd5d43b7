"""Loads the alert rules into a real Prometheus that scrapes a real daemon, and asks it every query of the dashboard.

Usage: observability.py FITMENT [SECONDS]; needs `prometheus` and `promtool` on the PATH and the default model installed. The daemon serves
the sample catalogue in a scratch folder. Ends with an error when a rule does not evaluate, or when a query is refused or finds nothing
although it is not one of EMPTY.
"""

import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

OBSERVABILITY = pathlib.Path(__file__).resolve().parents[1] / "observability"
# Metrics that have no series until something happens that this run does not make happen.
EMPTY = {"fitment_near_duplicates_total"}
INTENTS = ["take a card payment at checkout", "bar chart of revenue per region", "tune my guitar", "let people upload pictures", "send a text"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(port, path, **parameters):
    """The data of an answer of Prometheus' HTTP API."""
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?{query}", timeout=10) as response:
        answer = json.load(response)
    assert answer["status"] == "success", answer
    return answer["data"]


def start_daemon(fitment, folder):
    """A daemon with the sample, once it is ready, its address, and that of its metrics."""
    daemon = subprocess.Popen(
        [fitment, "demo", "--listen", "127.0.0.1:0", "--data-dir", f"{folder}/data"],
        env={"FITMENT_METRICS__LISTEN": "127.0.0.1:0", "PATH": "/usr/bin:/bin", "HOME": str(pathlib.Path.home())},
        stdout=subprocess.PIPE, text=True,
    )
    addresses = {}
    for line in daemon.stdout:
        if found := re.search(r"Metrics: http://(\S+)/metrics", line):
            addresses["metrics"] = found[1]
        if found := re.search(r"serves .* on (127\.0\.0\.1:\d+)", line):
            addresses["grpc"] = found[1]
        if len(addresses) == 2:
            return daemon, addresses["grpc"], addresses["metrics"]
    raise AssertionError("the daemon ended before it was ready")


def start_prometheus(folder, metrics):
    """Prometheus with the rules, scraping the daemon each second, and its port."""
    config = pathlib.Path(folder) / "prometheus.yaml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "2s"},
        "rule_files": [str((OBSERVABILITY / "alerts.yaml").resolve())],
        "scrape_configs": [{"job_name": "fitment", "static_configs": [{"targets": [metrics]}]}],
    }), encoding="utf-8")
    subprocess.run(["promtool", "check", "config", config], check=True, stdout=subprocess.DEVNULL)
    port = free_port()
    prometheus = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    return prometheus, port


def make_traffic(fitment, server, until):
    """Answers, an error, a verdict."""
    client = [fitment, "match", "--server", server, "--json"]
    answer = json.loads(subprocess.run([*client, INTENTS[0]], capture_output=True, text=True, check=True).stdout)
    subprocess.run(
        [fitment, "feedback", "record", "--server", server, answer["decisionId"], "--accepted"], check=True, stdout=subprocess.DEVNULL
    )
    asked = 0
    while time.monotonic() < until:
        subprocess.run([*client, INTENTS[asked % len(INTENTS)]], check=True, stdout=subprocess.DEVNULL)
        asked += 1
        refused = subprocess.run([fitment, "catalog", "get", "--server", server, "no/such"], capture_output=True, check=False)
        assert refused.returncode == 4, refused
    return asked


def queries():
    """Every query of the dashboard, with its panel's title, its variables filled in."""
    dashboard = json.loads((OBSERVABILITY / "dashboard.json").read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "15s").replace("$instance", ".*")


def names(page):
    """Names of the metrics on a page."""
    return {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")}


def check(port, metrics):
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as response:
        served = names(response.read().decode())
    shown, empty, answered = set(), set(), 0
    for title, query in queries():
        asked = set(re.findall(r"\bfitment_[a-z_]+", query))
        shown |= {re.sub("_(bucket|sum|count)$", "", name) if name not in served else name for name in asked}
        found = ask(port, "query", query=query)["result"]
        answered += bool(found)
        if not found:
            empty |= {(title, query)}
            assert asked & EMPTY, f"{title}: nothing found by {query}"
    unknown = shown - served - EMPTY
    assert not unknown, f"not served: {unknown}"
    print(f"dashboard: {answered} queries answered, {len(empty)} empty as expected: {sorted(title for title, _ in empty)}")
    print(f"on no panel: {sorted(served - shown)}")
    rules = [rule for group in ask(port, "rules")["groups"] for rule in group["rules"]]
    for rule in rules:
        assert rule["health"] == "ok", rule
        # A handful of intents over and over is drift, and a state that lasts less than its rule asks for is pending.
        assert rule["state"] != "firing", rule
    print("rules:", {rule["name"]: rule["state"] for rule in rules})


def main(fitment, seconds=45.0):
    subprocess.run(["promtool", "test", "rules", "alerts.test.yaml"], cwd=OBSERVABILITY, check=True)
    with tempfile.TemporaryDirectory() as folder:
        running = []
        try:
            daemon, server, metrics = start_daemon(fitment, folder)
            running.append(daemon)
            prometheus, port = start_prometheus(folder, metrics)
            running.append(prometheus)
            asked = make_traffic(fitment, server, time.monotonic() + float(seconds))
            print(f"asked {asked} intents in {seconds} s")
            check(port, metrics)
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=30)


if __name__ == "__main__":
    main(*sys.argv[1:])
