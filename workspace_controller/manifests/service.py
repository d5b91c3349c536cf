"""The two Services of a Workspace: its endpoint, and the names of its pods."""

from __future__ import annotations

from typing import Any

from apis.container import PORT, SERVICE_PORT
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Workspace
from kube import quantity
from kube.meta import Manifest
from kube.objects import Unstructured
from presets.engines.vllm import KV_EVENTS_PORT
from workspace_controller.manifests import ownership
from workspace_controller.marks import Owner

RAY_PORT = 6379
DASHBOARD_PORT = 8265
_POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"


def headless_name(workspace: Workspace) -> str:
    return f"{workspace.metadata.name}-headless"


def url(owner: Owner) -> str:
    """Where the model, or the retrieval service, answers inside the cluster."""
    return f"http://{owner.metadata.name}.{owner.metadata.namespace}.svc.cluster.local"


def kind(owner: Owner) -> str:
    """ClusterIP, or LoadBalancer where that is asked for."""
    asked = owner.metadata.annotations.get(labels.ENABLE_LB_ANNOTATION)
    return "LoadBalancer" if asked == labels.ENABLE_LB_VALUE else "ClusterIP"


def selected(found: Unstructured | None) -> int:
    """The ordinal of the pod that a stored endpoint stands for."""
    selector = {} if found is None else found.spec.get("selector") or {}
    return quantity.count(str(selector.get(_POD_NAME_LABEL, "")).rpartition("-")[2]) or 0


def endpoint(workspace: Workspace, *, vllm: bool, ordinal: int = 0) -> Manifest:
    """`http://<workspace>.<namespace>`: one pod alone. It is pod 0, which leads where there are
    several, and another only while that one is replaced.

    What vLLM offers beside HTTP has no authentication, so a load balancer does not carry it.
    """
    balanced = kind(workspace) == "LoadBalancer"
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
            "type": kind(workspace),
            "selector": {**ownership.pod_labels(workspace), _POD_NAME_LABEL: f"{name}-{ordinal}"},
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


def of_engine(owner: Owner) -> Manifest:
    """Of a RAGEngine, whose pods are told apart by nobody: those that are ready answer."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": ownership.child_metadata(owner, owner.metadata.name),
        "spec": {
            "type": kind(owner),
            "selector": ownership.pod_labels(owner),
            "ports": [_port("http", SERVICE_PORT, PORT)],
        },
    }


def _port(name: str, port: int, target: int) -> dict[str, Any]:
    return {"name": name, "port": port, "targetPort": target, "protocol": "TCP"}
