"""Loads the alert rules into a real Prometheus that scrapes a real daemon, and asks it every query of the dashboard.

Usage: observability.py FITMENT [SECONDS]; needs `prometheus` and `promtool` on the PATH, openssl, and the default model installed. The daemon serves
the sample catalogue in a scratch folder, with TLS, an access document, limits and traces; a document that cannot be read must make its alert fire.
Ends with an error when the page, the manual and the dashboard do not name the same metrics, when a rule does not evaluate, or when a query is refused or
finds nothing although it is not one of EMPTY.
"""

import json
import os
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

PACKAGING = pathlib.Path(__file__).resolve().parents[1]
OBSERVABILITY = PACKAGING / "observability"
MANUAL = PACKAGING.parent / "docs" / "operations.md"
# Metrics that have no series until something happens that this run does not make happen.
EMPTY = {"fitment_near_duplicates_total", "fitment_overload_refused_total", "fitment_connections_refused_total"}
# Rules that this run gives a reason.
FIRING = {"FitmentReloadFails"}
CONFIG = """
unix_socket = "{folder}/fitment.sock"
[tls]
certificate = "{folder}/tls.crt"
key = "{folder}/tls.key"
watch_seconds = 1
[access]
file = "{folder}/access.yaml"
[traces]
file = "{folder}/spans.jsonl"
ratio = 1.0
[metrics]
listen = "127.0.0.1:0"
"""
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


def write_access(folder, change=lambda document: None):
    """The access document, in which users of the Unix socket are the caller that may ask once a second."""
    path = pathlib.Path(folder) / "access.yaml"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["unix"] = [{"uid": os.getuid(), "principal": "caller"}]
    change(document)
    path.with_suffix(".new").write_text(json.dumps(document), encoding="utf-8")
    path.with_suffix(".new").rename(path)


def start_daemon(fitment, folder):
    """A daemon with the sample, once it is ready, its address, and that of its metrics."""
    subprocess.run([PACKAGING / "tests" / "credentials.sh", fitment, folder], check=True)
    write_access(folder)
    config = pathlib.Path(folder) / "fitment.toml"
    config.write_text(CONFIG.format(folder=folder), encoding="utf-8")
    daemon = subprocess.Popen(
        [fitment, "--config", config, "demo", "--listen", "127.0.0.1:0", "--data-dir", f"{folder}/data"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(pathlib.Path.home())}, stdout=subprocess.PIPE, text=True,
    )
    addresses = {}
    for line in daemon.stdout:
        if found := re.search(r"Metrics: http://(\S+)/metrics", line):
            addresses["metrics"] = found[1]
        if found := re.search(r"serves .* on (https://127\.0\.0\.1:\d+)", line):
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


def make_traffic(fitment, server, folder, until):
    """Answers, an error, a verdict; callers that are nobody, that may not, and that ask too often; files that are read again."""
    ops = ["--server", server, "--ca", f"{folder}/ca.crt", "--api-key-file", f"{folder}/api-key"]
    caller = ["--server", f"unix:{folder}/fitment.sock"]

    def ask(*arguments, ends_with=(0,)):
        ended = subprocess.run([fitment, *arguments], capture_output=True, text=True, check=False)
        assert ended.returncode in ends_with, (arguments, ended)
        return ended.stdout

    answer = json.loads(ask("match", "--json", INTENTS[0], *ops))
    ask("feedback", "record", answer["decisionId"], "--accepted", *ops)
    ask("match", INTENTS[0], "--server", server, "--ca", f"{folder}/ca.crt", ends_with=[9])
    ask("feedback", "drift", *caller, ends_with=[9])
    certificate = pathlib.Path(folder) / "tls.crt"
    certificate.write_bytes(certificate.read_bytes())
    write_access(folder, lambda document: document["principals"].append({"id": "another"}))
    asked = 0
    broken = False
    while time.monotonic() < until:
        ask("match", "--json", INTENTS[asked % len(INTENTS)], *ops)
        asked += 1
        ask("catalog", "get", "no/such", *ops, ends_with=[4])
        for _ in range(3):
            ask("match", "once a second", *caller, ends_with=[0, 5])
        ask("feedback", "drift", *caller, ends_with=[5, 9])
        if not broken and time.monotonic() > until - 25:
            write_access(folder, lambda document: document["principals"].append({"id": "No Id"}))
            broken = True
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
    """Names of the metrics on a page, each of which must say what it is."""
    typed = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")}
    helped = {line.split()[2] for line in page.splitlines() if line.startswith("# HELP ")}
    assert typed <= helped, f"no help: {typed - helped}"
    return typed


def check_names(page):
    """By Prometheus' conventions, and as the manual has them."""
    found = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    said = (found.stdout + found.stderr).strip()
    assert not said, said
    documented = set(re.findall(r"^\| `((?:fitment|process)_[a-z_]+)`", MANUAL.read_text(encoding="utf-8"), re.MULTILINE))
    served = names(page)
    assert served <= documented, f"not in the manual: {served - documented}"
    assert documented - served <= EMPTY, f"in the manual and not served: {documented - served - EMPTY}"
    print(f"page: {len(served)} metrics, all in the manual, and nothing for promtool to say")
    return served


def check(port, metrics):
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as response:
        served = check_names(response.read().decode())
    shown, empty, answered = set(), set(), 0
    for title, query in queries():
        asked = set(re.findall(r"\b(?:fitment|process)_[a-z_]+", query))
        shown |= {re.sub("_(bucket|sum|count)$", "", name) if name not in served else name for name in asked}
        found = ask(port, "query", query=query)["result"]
        answered += bool(found)
        if not found:
            empty |= {(title, query)}
            assert asked & EMPTY, f"{title}: nothing found by {query}"
    unknown = shown - served - EMPTY
    assert not unknown, f"not served: {unknown}"
    print(f"dashboard: {answered} queries answered, {len(empty)} empty as expected: {sorted(title for title, _ in empty)}")
    # What the choice of instances is made from is on no panel.
    left_out = served - shown - {"fitment_build_info"}
    assert not left_out, f"on no panel: {left_out}"
    rules = [rule for group in ask(port, "rules")["groups"] for rule in group["rules"]]
    for rule in rules:
        assert rule["health"] == "ok", rule
        # A handful of intents over and over is drift, and a state that lasts less than its rule asks for is pending.
        assert (rule["state"] == "firing") == (rule["name"] in FIRING), rule
    print("rules:", {rule["name"]: rule["state"] for rule in rules})


def main(fitment, seconds=60.0):
    subprocess.run(["promtool", "test", "rules", "alerts.test.yaml"], cwd=OBSERVABILITY, check=True)
    with tempfile.TemporaryDirectory() as folder:
        running = []
        try:
            daemon, server, metrics = start_daemon(fitment, folder)
            running.append(daemon)
            prometheus, port = start_prometheus(folder, metrics)
            running.append(prometheus)
            asked = make_traffic(fitment, server, folder, time.monotonic() + float(seconds))
            print(f"asked {asked} intents in {seconds} s")
            check(port, metrics)
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=30)


if __name__ == "__main__":
    main(*sys.argv[1:])
