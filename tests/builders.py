"""Objects for tests, each with a sentence's worth of arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

import cloudproviders
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Condition, Manifest, ObjectMeta
from kube.objects import (
    ConfigMap,
    ContainerState,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Node,
    NodeSpec,
    NodeStatus,
    Pod,
    PodSpec,
    PodStatus,
    Taint,
    Unstructured,
)
from presets.catalog import Catalog
from presets.model import GIB, Model
from workspace_controller.facts import facts
from workspace_controller.nodes.byo import BringYourOwn
from workspace_controller.nodes.claims import ClaimProvisioner
from workspace_controller.nodes.classes import NodeClass, NodeClasses
from workspace_controller.nodes.pool import PoolProvisioner
from workspace_controller.nodes.provisioner import NodeProvisioner
from workspace_controller.settings import GATES, Settings
from workspace_controller.workspace.observed import Observed

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UID = "5f0e7a52-93ac-4a04-9a34-6f2a6a1c0001"
OWNED = {"kaito.sh/workspace": "falcon", "kaito.sh/workspacenamespace": "default"}

SMALL = Model(
    name="small-1b",
    hf_id="example/Small-1B",
    weights_bytes=2 * GIB,
    disk_gib=82,
    gguf_file="model.gguf",
    gguf_bytes=GIB // 2,
    layers=16,
    heads=16,
    kv_heads=4,
    head_dim=64,
    hidden_size=1024,
    max_model_len=32768,
    kv_bytes_per_token=16384,
    runtimes=("vllm", "transformers", "llamacpp"),
)
LARGE = Model(
    name="large-70b",
    hf_id="example/Large-70B",
    weights_bytes=66 * GIB,
    disk_gib=146,
    layers=80,
    heads=64,
    kv_heads=8,
    head_dim=128,
    hidden_size=8192,
    max_model_len=131072,
    kv_bytes_per_token=327680,
)
GATED = msgspec.structs.replace(
    SMALL, name="gated-1b", hf_id="example/Gated-1B", auth_required=True
)
CATALOG = Catalog([SMALL, LARGE, GATED])


NODE_CLASSES = NodeClasses(
    group="karpenter.azure.com",
    kind="AKSNodeClass",
    version="v1beta1",
    resource_name="aksnodeclasses",
    classes=(
        NodeClass("ubuntu", default=True, spec={"imageFamily": "Ubuntu2204", "osDiskSizeGB": 100}),
        NodeClass("large", spec={"imageFamily": "AzureLinux", "osDiskSizeGB": 300}),
    ),
)


def settings(
    *,
    cloud: str = "local",
    byo: bool = False,
    gates: Mapping[str, bool] | None = None,
    node_classes: NodeClasses | None = None,
) -> Settings:
    """An installation on one of the built-in clouds, with three invented presets; with
    `node_classes` nodes come by NodePools."""
    profile = cloudproviders.profile(cloud)
    types = cloudproviders.instance_types(cloud)
    nodes: NodeProvisioner = BringYourOwn() if byo else ClaimProvisioner(profile, types)
    if node_classes is not None:
        nodes = PoolProvisioner(node_classes, types)
    return Settings(
        nodes=nodes,
        cloud=profile,
        catalog=CATALOG,
        facts=facts(
            cloud=cloud,
            profile=profile,
            provisioner="byo" if byo else "karpenter" if node_classes else "nodeclaim",
            gates={**GATES, **(gates or {})},
            instance_types=types,
            catalog=CATALOG,
            node_class_names=node_classes.names if node_classes else (),
        ),
        node_classes=node_classes,
        registry="registry.example/kaito",
        image_tag="0.1.0",
    )


def a_workspace_manifest(
    *,
    name: str = "falcon",
    preset: str = "small-1b",
    instance_type: str = "local-gpu-1",
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    inference: Manifest | None = None,
    **more: Any,
) -> Manifest:
    """As a user writes it; `inference` is merged over the preset."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": dict(annotations or {}),
        },
        "resource": {
            "instanceType": instance_type,
            "labelSelector": {"matchLabels": dict(labels or {"apps": "llm"})},
        },
        "inference": {"preset": {"name": preset}, **(inference or {})},
        **more,
    }


def a_workspace(*, uid: str = UID, deleting: bool = False, **given: Any) -> Workspace:
    """As the API server has it."""
    manifest = a_workspace_manifest(**given)
    manifest["metadata"] |= {"uid": uid, "resourceVersion": "1", "generation": 1}
    if deleting:
        manifest["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    return Workspace.model_validate(manifest)


def a_node(
    name: str = "node-1",
    *,
    ready: bool = True,
    instance_type: str = "local-gpu-1",
    gpus: int = 1,
    labels: Mapping[str, str] | None = None,
    taints: Iterable[Taint] = (),
    pressure: str = "",
    deleting: bool = False,
) -> Node:
    """A Node that carries the Workspace's labels, as its claim would have given them."""
    conditions = [Condition(type="Ready", status="True" if ready else "False")]
    if pressure:
        conditions.append(Condition(type=pressure, status="True"))
    offered = {"cpu": "4", "memory": "12Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return Node(
        metadata=ObjectMeta(
            name=name,
            labels={
                **OWNED,
                "apps": "llm",
                "node.kubernetes.io/instance-type": instance_type,
                "karpenter.sh/registered": "true",
                **(labels or {}),
            },
            deletion_timestamp=NOW if deleting else None,
        ),
        spec=NodeSpec(taints=tuple(taints)),
        status=NodeStatus(conditions=tuple(conditions), allocatable=offered),
    )


def a_gpu_node(name: str = "own-1", *, product: str = "NVIDIA-A10", gpus: int = 1) -> Node:
    """A Node of the user's own, labelled as gpu-feature-discovery does it."""
    discovered = {
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.count": str(gpus),
        "nvidia.com/gpu.memory": "24576",
    }
    node = a_node(name, gpus=gpus)
    kept = {"apps": "llm", **discovered}
    return msgspec.structs.replace(
        node, metadata=msgspec.structs.replace(node.metadata, labels=kept)
    )


def a_claim(
    name: str,
    *,
    ordinal: int | None = 0,
    node: str = "",
    ready: bool = False,
    deleting: bool = False,
    launched: tuple[str, str, str] | None = None,
) -> NodeClaim:
    """A claim of the Workspace; `launched` is (status, reason, message) of its first stage."""
    conditions: list[Manifest] = []
    if launched is not None:
        status, reason, message = launched
        conditions.append(
            {"type": "Launched", "status": status, "reason": reason, "message": message}
        )
    if ready:
        conditions += [
            {"type": kind, "status": "True", "reason": kind}
            for kind in ("Launched", "Registered", "Initialized", "Ready")
        ]
    metadata: Manifest = {"name": name, "uid": f"uid-{name}", "labels": {**OWNED, "apps": "llm"}}
    if ordinal is not None:
        metadata["annotations"] = {"kaito.sh/node-claim-ordinal": str(ordinal)}
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    return NodeClaim.model_validate(
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": metadata,
            "spec": {
                "nodeClassRef": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
                "requirements": [],
            },
            "status": {"nodeName": node, "conditions": conditions},
        }
    )


def a_stateful_set(
    *, replicas: int = 1, ready: int = 0, generation: int = 1, observed: int = 1, **spec: Any
) -> Unstructured:
    return Unstructured(
        metadata=ObjectMeta(
            name="falcon", namespace="default", generation=generation, resource_version="7"
        ),
        spec={"replicas": replicas, **spec},
        status={"replicas": replicas, "readyReplicas": ready, "observedGeneration": observed},
    )


def a_config(text: str = "vllm:\n  max-model-len: 4096\n", name: str = "options") -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(name=name, namespace="default"), data={"inference_config.yaml": text}
    )


def a_pod(
    name: str = "falcon-0",
    *,
    node: str = "",
    waiting: tuple[str, str] | None = None,
    terminated: tuple[str, int] | None = None,
    init: bool = False,
    ready: bool = False,
    phase: str = "Pending",
    reason: str = "",
    message: str = "",
    conditions: Iterable[Condition] = (),
) -> Pod:
    """A pod of the Workspace with one container; `waiting` and `terminated` are its state and
    its last state."""
    state = ContainerState(
        waiting=ContainerStateWaiting(reason=waiting[0], message=waiting[1]) if waiting else None
    )
    last = ContainerState()
    if terminated is not None:
        last = ContainerState(
            terminated=ContainerStateTerminated(reason=terminated[0], exit_code=terminated[1])
        )
    status = ContainerStatus(name="falcon", ready=ready, state=state, last_state=last)
    return Pod(
        metadata=ObjectMeta(
            name=name, namespace="default", labels={"kaito.sh/workspace": "falcon"}
        ),
        spec=PodSpec(node_name=node),
        status=PodStatus(
            phase=phase,
            reason=reason,
            message=message,
            conditions=tuple(conditions),
            container_statuses=() if init else (status,),
            init_container_statuses=(status,) if init else (),
        ),
    )


def a_world(**seen: Any) -> Observed:
    """What the caches show; nothing where nothing is given."""
    return Observed(**{"now": NOW, **seen})
