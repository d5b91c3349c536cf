"""What every cluster needs besides nodes: DNS. The manifests, and how they are applied."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcluster.commands import CommandError
from localcluster.network import Network

SYSTEM_LABEL = {"localcluster.kaito.sh/system": "true"}
"""On the node that is always there; whatever belongs to the cluster itself is bound to it."""
Manifest = dict[str, Any]
_NAME = "coredns"
_NAMESPACE = "kube-system"


def corefile(network: Network) -> str:
    """CoreDNS's configuration; only a cluster with egress asks outside servers."""
    forward = "    forward . /etc/resolv.conf\n" if network.egress else ""
    return (
        ".:53 {\n"
        "    errors\n"
        "    health\n"
        "    ready\n"
        "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
        "        pods insecure\n"
        "        fallthrough in-addr.arpa ip6.arpa\n"
        "        ttl 5\n"
        "    }\n"
        f"{forward}"
        "    cache 5\n"
        "    loop\n"
        "    reload\n"
        "}\n"
    )


def coredns(image: str, network: Network) -> list[Manifest]:
    """CoreDNS as a Deployment behind the service kube-dns."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": _NAME, "namespace": _NAMESPACE},
        },
        *_access(),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _NAME, "namespace": _NAMESPACE},
            "data": {"Corefile": corefile(network)},
        },
        _deployment(image),
        _service(network),
    ]


def _access() -> list[Manifest]:
    name = f"system:{_NAME}"
    readable: list[Manifest] = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
    ]
    rules = [{**item, "verbs": ["list", "watch"]} for item in readable]
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": _NAME, "namespace": _NAMESPACE}
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        },
    ]


def _deployment(image: str) -> Manifest:
    labels = {"k8s-app": "kube-dns"}
    container = {
        "name": _NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8181},
            "periodSeconds": 1,
        },
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 5},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": _NAME,
        "nodeSelector": SYSTEM_LABEL,
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": _NAME}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": _NAME, "namespace": _NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _service(network: Network) -> Manifest:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": _NAMESPACE},
        "spec": {"selector": {"k8s-app": "kube-dns"}, "clusterIP": network.dns, "ports": ports},
    }


class Kubectl:
    """kubectl as the administrator."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self._command = [str(program), "--kubeconfig", str(kubeconfig)]

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl says; raises CommandError where it fails."""
        result = subprocess.run(
            [*self._command, *words], input=stdin, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise CommandError(f"kubectl {' '.join(words)}: {result.stderr.strip()}")
        return result.stdout

    def apply(self, manifests: Sequence[Manifest]) -> None:
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(document))

    def wait_ready_node(self, name: str, seconds: int) -> None:
        """Wait for a node that may not have registered yet."""
        timeout = f"--timeout={seconds}s"
        self("wait", "--for=create", f"node/{name}", timeout)
        self("wait", "--for=condition=Ready", f"node/{name}", timeout)
