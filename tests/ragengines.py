"""RAGEngines for tests, and what is seen of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Condition, Manifest, ObjectMeta, OwnerReference
from kube.objects import (
    ConfigMap,
    ContainerState,
    ContainerStateWaiting,
    ContainerStatus,
    Node,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    Pod,
    PodSpec,
    PodStatus,
    Unstructured,
)
from tests import builders
from workspace_controller.ragengine.observed import Observed

UID = "5f0e7a52-93ac-4a04-9a34-6f2a6a1c0002"
OWNED = {"kaito.sh/ragengine": "docs", "kaito.sh/ragenginenamespace": "default"}
COMPUTE: Manifest = {
    "instanceType": "local-cpu-2",
    "labelSelector": {"matchLabels": {"apps": "rag"}},
}
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
POLICY = "action: redact\nscanners: [{type: secrets}]\n"


def a_manifest(
    *,
    name: str = "docs",
    annotations: Mapping[str, str] | None = None,
    compute: Manifest | None = COMPUTE,
    **spec: Any,
) -> Manifest:
    """As a user writes it: MiniLM in the pod, on a node of its own, and nothing to keep indexes."""
    given = {"embedding": {"local": {"modelID": MODEL}}, **spec}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "RAGEngine",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": dict(annotations or {}),
        },
        "spec": {**({"compute": compute} if compute else {}), **given},
    }


def an_engine(
    *,
    uid: str = UID,
    generation: int = 1,
    conditions: tuple[Manifest, ...] = (),
    state: str = "",
    **given: Any,
) -> RAGEngine:
    """As the API server has it."""
    manifest = a_manifest(**given)
    manifest["metadata"] |= {"uid": uid, "resourceVersion": "1", "generation": generation}
    manifest["status"] = {"conditions": list(conditions), "state": state}
    return RAGEngine.model_validate(manifest)


def a_world(**seen: Any) -> Observed:
    return Observed(**{"now": builders.NOW, **seen})


def a_node(name: str = "node-1", **given: Any) -> Node:
    """A Node that carries the engine's labels, as its claim would have given them."""
    given = {"instance_type": "local-cpu-2", "gpus": 0, **given}
    node = builders.a_node(name, **given)
    kept = {
        key: value
        for key, value in node.metadata.labels.items()
        if not key.startswith("kaito.sh/workspace")
    }
    labels = {**kept, **OWNED, "apps": "rag"}
    return msgspec.structs.replace(
        node, metadata=msgspec.structs.replace(node.metadata, labels=labels)
    )


def a_claim(name: str, **given: Any) -> NodeClaim:
    claim = builders.a_claim(name, **given)
    meta = msgspec.structs.replace(claim.metadata, labels={**OWNED, "apps": "rag"})
    return claim.model_copy(update={"metadata": meta})


def a_ready_world(**seen: Any) -> Observed:
    """Its node is there."""
    given = {
        "claims": (a_claim("ws1", node="node-1", ready=True),),
        "nodes": (a_node(),),
    }
    return a_world(**{**given, **seen})


def a_pod(
    name: str = "docs-abc-1",
    *,
    node: str = "node-1",
    ready: bool = False,
    waiting: tuple[str, str] | None = None,
    conditions: tuple[Condition, ...] = (),
) -> Pod:
    state = ContainerState(
        waiting=ContainerStateWaiting(reason=waiting[0], message=waiting[1]) if waiting else None
    )
    status = ContainerStatus(name="ragengine", ready=ready, state=state)
    meta = ObjectMeta(name=name, namespace="default", labels=OWNED)
    return Pod(
        metadata=meta,
        spec=PodSpec(node_name=node),
        status=PodStatus(
            phase="Running" if node else "Pending",
            conditions=conditions,
            container_statuses=(status,),
        ),
    )


def a_volume_claim(name: str = "indexes", mode: str = "ReadWriteOnce") -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PersistentVolumeClaimSpec(access_modes=(mode,)),
    )


def a_policy(name: str = "policy", text: str = POLICY, owner: str = "") -> ConfigMap:
    references = (
        (OwnerReference(api_version="kaito.sh/v1beta1", kind="RAGEngine", name="docs", uid=owner),)
        if owner
        else ()
    )
    meta = ObjectMeta(name=name, namespace="default", owner_references=references)
    return ConfigMap(metadata=meta, data={"guardrails.yaml": text})


def some_settings(**data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data=data)


def stored(manifest: Manifest, **status: Any) -> Unstructured:
    """What the API server has once the manifest is applied."""
    meta = {**manifest["metadata"], "generation": 1, "resourceVersion": "7"}
    return msgspec.convert({**manifest, "metadata": meta, "status": status}, Unstructured)
