"""The two Services of a Workspace: its endpoint, and the names of its pods."""

from __future__ import annotations

from typing import Any

from apis.container import PORT, SERVICE_PORT
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from workspace_controller.manifests import ownership

RAY_PORT = 6379
DASHBOARD_PORT = 8265
KV_EVENTS_PORT = 5557
_POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"


def headless_name(workspace: Workspace) -> str:
    return f"{workspace.metadata.name}-headless"


def url(workspace: Workspace) -> str:
    """Where the model answers inside the cluster."""
    return f"http://{workspace.metadata.name}.{workspace.metadata.namespace}.svc.cluster.local"


def endpoint(workspace: Workspace, *, vllm: bool) -> Manifest:
    """`http://<workspace>.<namespace>`: pod 0 alone, which leads where there are several.

    What vLLM offers beside HTTP has no authentication, so a load balancer does not carry it.
    """
    asked = workspace.metadata.annotations.get(labels.ENABLE_LB_ANNOTATION)
    balanced = asked == labels.ENABLE_LB_VALUE
    ports = [_port("http", SERVICE_PORT, PORT)]
    if vllm and not balanced:
        ports += [
            _port("ray", RAY_PORT, RAY_PORT),
            _port("dashboard", DASHBOARD_PORT, DASHBOARD_PORT),
            _port("kv-events", KV_EVENTS_PORT, KV_EVENTS_PORT),
        ]
    name = workspace.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": ownership.child_metadata(workspace, name),
        "spec": {
            "type": "LoadBalancer" if balanced else "ClusterIP",
            "selector": {**ownership.pod_labels(workspace), _POD_NAME_LABEL: f"{name}-0"},
            "ports": ports,
            "publishNotReadyAddresses": True,
        },
    }


def headless(workspace: Workspace) -> Manifest:
    """Gives each pod its name; workers find the leader by it before anybody is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": ownership.child_metadata(workspace, headless_name(workspace)),
        "spec": {
            "clusterIP": "None",
            "selector": ownership.pod_labels(workspace),
            "publishNotReadyAddresses": True,
        },
    }


def _port(name: str, port: int, target: int) -> dict[str, Any]:
    return {"name": name, "port": port, "targetPort": target, "protocol": "TCP"}
