"""Lints the Helm chart, renders it with several values, holds every object to Kubernetes' own schemas, and has the daemon check what it is told.

Usage: helm.py [--binary FITMENT] [KUBERNETES_VERSION ...]; needs helm-python-sdk, kubernetes-validate and PyYAML
(packaging/tests/requirements.txt). With a binary, `config check` reads the variables and the configuration file of every pod. Objects of the
Prometheus operator have no schema there: they are parsed, and their rules are the file that observability.py loads.
"""

import argparse
import pathlib
import subprocess
import tempfile

import helm_python
import kubernetes_validate
import yaml

CHART = pathlib.Path(__file__).resolve().parents[1] / "helm" / "fitment"
ACCEPT = {
    "insecurePlaintextOnNetwork": "anyone on the network can read and change what is sent",
    "insecureAnonymousOnNetwork": "anyone who reaches this address can do everything",
}
TLS = {"secret": "fitment-tls"}
CASES = {
    "least": ACCEPT,
    "TLS and an access document": {"tls": TLS, "access": {"secret": "fitment-access"}},
    "TLS, clients with certificates": {"tls": {**TLS, "clientAuth": "required", "clientCa": {"configMap": "clients", "key": "roots.pem"}, "minVersion": "1.3"}},
    "TLS, both, a budget": {
        "tls": {**TLS, "clientAuth": "optional", "clientCa": {"secret": "clients"}},
        "access": {"configMap": "access", "file": "who.yaml"},
        "drainSeconds": 60,
        "terminationGracePeriodSeconds": 90,
        "podDisruptionBudget": {"enabled": True},
        "config": 'log_format = "json"\n[traces]\nfile = "/spans/spans.jsonl"\n[limits]\nrequests_per_second = 50\n',
        "extraVolumes": [{"name": "spans", "emptyDir": {"sizeLimit": "256Mi"}}],
        "extraVolumeMounts": [{"name": "spans", "mountPath": "/spans"}],
    },
    "TLS, and nobody asked": {"tls": TLS, "insecureAnonymousOnNetwork": ACCEPT["insecureAnonymousOnNetwork"]},
    "everything": {
        **ACCEPT,
        "image": {"repository": "registry.internal/fitment", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "pull"}],
        "config": 'log_format = "json"\nqueue_capacity = 64\n',
        "extraEnv": [{"name": "FITMENT_LOG", "value": "warn"}],
        "drainSeconds": 20,
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
    "TLS and nobody asked who they are": {"tls": TLS},
    "an access document and no TLS": {"access": {"secret": "fitment-access"}},
    "two access documents": {"tls": TLS, "access": {"secret": "a", "configMap": "b"}},
    "client certificates without TLS": {**ACCEPT, "tls": {"clientAuth": "required", "clientCa": {"secret": "clients"}}},
    "client certificates and nothing to verify them against": {"tls": {**TLS, "clientAuth": "required"}},
    "a client CA that nobody is asked for": {**ACCEPT, "tls": {**TLS, "clientCa": {"secret": "clients"}}},
    "TLS and probes that speak none": {"tls": TLS, "access": {"secret": "a"}, "metrics": {"enabled": False}},
    "no time to drain": {**ACCEPT, "drainSeconds": 60},
    "a budget for pods that there are not": {**ACCEPT, "podDisruptionBudget": {"enabled": True, "maxUnavailable": 2}},
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
    volumes = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in found["StatefulSet"]["spec"].get("volumeClaimTemplates", [])}
    assert volumes == {mount["name"] for mount in container["volumeMounts"]}, volumes
    assert not any("subPath" in mount for mount in container["volumeMounts"]), "a file that is mounted alone never changes"
    for volume in pod["volumes"]:
        if source := volume.get("secret"):
            assert source["defaultMode"] == 0o440, "everybody may read a secret"
    # The kubelet speaks HTTP to the page, or gRPC where there is neither a page nor TLS.
    probes = [container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]
    if "FITMENT_METRICS__LISTEN" in names:
        assert [probe["httpGet"]["path"] for probe in probes] == ["/readyz", "/readyz", "/livez"]
    else:
        assert "FITMENT_TLS__CERTIFICATE" not in names and all("grpc" in probe for probe in probes)
    if "NetworkPolicy" in found:
        policy = found["NetworkPolicy"]["spec"]
        assert policy["egress"] == [] and "Egress" in policy["policyTypes"]
        assert all(rule["from"] for rule in policy["ingress"]), "an empty `from` lets everybody in"


def check_configuration(binary, found):
    """The daemon itself reads what the pod is told."""
    variables = {variable["name"]: variable["value"] for variable in found["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["env"]}
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(found["ConfigMap"]["data"]["fitment.toml"])
        file.flush()
        command = [binary, "--config", file.name, "config", "check"]
        answer = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary")
    arguments.add_argument("versions", nargs="*", default=["1.27", "1.31"])
    given = arguments.parse_args()
    versions = given.versions
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
            if given.binary:
                check_configuration(given.binary, found)
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
    main()
