"""Manifests to start a test from; each test names only what it is about."""

from __future__ import annotations

from typing import Any

import msgspec

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.meta import Manifest

KAITO_NODE_CLASS = {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"}


def claim_manifest(
    name: str = "ws1",
    *,
    node_class_ref: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    instance_type: str = "fake-gpu-1",
    requirements: list[dict[str, Any]] | None = None,
    **spec: Any,
) -> Manifest:
    """A claim as the workspace controller writes it."""
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "nodeClassRef": node_class_ref or KAITO_NODE_CLASS,
            "requirements": requirements
            if requirements is not None
            else [
                {
                    "key": "node.kubernetes.io/instance-type",
                    "operator": "In",
                    "values": [instance_type],
                }
            ],
            "expireAfter": "Never",
            **spec,
        },
    }


def claim(name: str = "ws1", *, uid: str = "uid-1", **given: Any) -> NodeClaim:
    """The same, as an object that the API server has stored."""
    manifest = claim_manifest(name, **given)
    manifest["metadata"] |= {
        "uid": uid,
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return NODE_CLAIMS.decode(msgspec.json.encode(manifest))


def node_manifest(
    provider_id: str,
    name: str = "ws1",
    *,
    ready: bool = True,
    taints: list[dict[str, str]] | None = None,
    allocatable: dict[str, str] | None = None,
    capacity: dict[str, str] | None = None,
    **metadata: Any,
) -> Manifest:
    """A Node as its kubelet registers it; with the unregistered taint where none are given."""
    unregistered = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, **metadata},
        "spec": {
            "providerID": provider_id,
            "taints": [unregistered] if taints is None else taints,
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "allocatable": allocatable or {"cpu": "8", "nvidia.com/gpu": "1"},
            "capacity": capacity or {},
        },
    }


def pod_manifest(
    name: str, node: str = "ws1", *, owner: str = "ReplicaSet", phase: str = "Running", **given: Any
) -> Manifest:
    """A pod that runs on a node. `owner` is the kind of its controller; "" for none."""
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}], **given.pop("spec", {})}
    owners = [{"apiVersion": "v1", "kind": owner, "name": "owner", "uid": "owner-uid"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "ownerReferences": owners if owner else [],
            **given.pop("metadata", {}),
        },
        "spec": spec,
        "status": {"phase": phase, **given.pop("status", {})},
        **given,
    }
