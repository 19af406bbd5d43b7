"""Lints the Helm chart, renders it with several values, and holds every object to Kubernetes' own schemas.

Usage: helm.py [KUBERNETES_VERSION ...]; needs helm-python-sdk, kubernetes-validate and PyYAML (packaging/tests/requirements.txt).
Objects of the Prometheus operator have no schema there: they are parsed, and their rules are the file that observability.sh loads.
"""

import pathlib
import sys

import helm_python
import kubernetes_validate
import yaml

CHART = pathlib.Path(__file__).resolve().parents[1] / "helm" / "fitment"
ACCEPT = {
    "insecurePlaintextOnNetwork": "anyone on the network can read and change what is sent",
    "insecureAnonymousOnNetwork": "anyone who reaches this address can do everything",
}
CASES = {
    "least": ACCEPT,
    "everything": {
        **ACCEPT,
        "image": {"repository": "registry.internal/fitment", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "pull"}],
        "config": 'log_format = "json"\nqueue_capacity = 64\n',
        "extraEnv": [{"name": "FITMENT_DRAIN_SECONDS", "value": "20"}],
        "model": {"name": "all-mpnet-base-v2", "path": "/models", "volume": {"persistentVolumeClaim": {"claimName": "models"}}},
        "storage": {"className": "fast", "size": "50Gi"},
        "service": {"type": "LoadBalancer", "annotations": {"internal": "true"}},
        "metrics": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        },
        "networkPolicy": {
            "from": [{"namespaceSelector": {"matchLabels": {"team": "agents"}}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        },
        "serviceAccount": {"annotations": {"owner": "platform"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    },
    "own claim, no metrics, no policy": {
        **ACCEPT,
        "storage": {"existingClaim": "mine"},
        "metrics": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "serviceAccount": {"name": "mine"},
    },
}
REFUSED = {
    "nobody accepted an open network": {},
    "only one of its dangers was accepted": {"insecurePlaintextOnNetwork": ACCEPT["insecurePlaintextOnNetwork"]},
    "something else was said": {**ACCEPT, "insecureAnonymousOnNetwork": "yes"},
    "a misspelt value": {**ACCEPT, "storge": {}},
    "a number of replicas": {**ACCEPT, "replicas": 2},
    "a digest that is none": {**ACCEPT, "image": {"digest": "latest"}},
}


def objects(chart, values):
    """Every object that the chart renders to, with the file that it comes from."""
    for path, text in sorted(chart.render(values, name="try", namespace="shop").items()):
        if path.endswith(".yaml"):
            yield from ((path, document) for document in yaml.safe_load_all(text) if document)


def check_hardening(found):
    """What must hold in every rendering that is not told otherwise."""
    pod = found["StatefulSet"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert found["StatefulSet"]["spec"]["replicas"] == 1
    assert pod["enableServiceLinks"] is False, "the daemon refuses the variables of service links"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names)), names
    if "NetworkPolicy" in found:
        policy = found["NetworkPolicy"]["spec"]
        assert policy["egress"] == [] and "Egress" in policy["policyTypes"]
        assert all(rule["from"] for rule in policy["ingress"]), "an empty `from` lets everybody in"


def main(versions):
    findings = helm_python.lint(str(CHART))
    print("helm", helm_python.helm_sdk_version(), "lint:", findings)
    assert not any(word in str(findings) for word in ("WARNING", "ERROR")), findings
    with helm_python.Chart.load(str(CHART)) as chart:
        for case, values in CASES.items():
            found, checked = {}, 0
            for path, document in objects(chart, values):
                found[document["kind"]] = document
                if document["apiVersion"].startswith("monitoring.coreos.com/"):
                    continue
                for version in versions:
                    kubernetes_validate.validate(document, version, strict=True)
                checked += 1
            check_hardening(found)
            if "PrometheusRule" in found:
                alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
                assert found["PrometheusRule"]["spec"] == alerts
            print(f"{case}: {checked} objects valid for Kubernetes {', '.join(versions)}; {sorted(found)}")
        for case, values in REFUSED.items():
            try:
                chart.render(values, name="try", namespace="shop")
            except helm_python.HelmError as error:
                print(f"refused, as it must be, {case}: {str(error).strip().splitlines()[-1][-160:]}")
            else:
                raise AssertionError(f"rendered although {case}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["1.27", "1.31"])
