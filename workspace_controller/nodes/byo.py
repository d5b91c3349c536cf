"""Nodes that are simply there, found by the user's labels: bring your own. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from apis.gpu import GPU, NO_GPU
from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Partition, Workspace
from kube import quantity
from kube.meta import Condition
from kube.objects import Node
from workspace_controller.errors import UserError
from workspace_controller.nodes import readiness
from workspace_controller.nodes.provisioner import Need, NodeShape, user_labels
from workspace_controller.plan import Plan
from workspace_controller.workspace.observed import Observed


@dataclass(frozen=True, slots=True)
class BringYourOwn:
    """Asks for nothing; waits until enough labelled nodes are ready."""

    def shape(self, workspace: Workspace, seen: Observed) -> NodeShape | None:
        """The first ready node speaks for all: admission has checked that they are alike."""
        ready = sorted(
            (node for node in _selected(workspace, seen) if readiness.is_up(node)),
            key=lambda node: node.metadata.name,
        )
        if not ready:
            return None
        part = workspace.resource.partition if workspace.resource else None
        whole = _shape(ready[0])
        return whole if part is None else _part(whole, part)

    def waiting(self, workspace: Workspace, seen: Observed) -> Plan:
        message = f"no ready Node has the labels {_spelled(user_labels(workspace))}"
        missing = Condition(
            type=c.NODES_READY, status="False", reason=c.REASON_NODE_NOT_READY, message=message
        )
        return _plan(missing, _selected(workspace, seen))

    def node_labels(self, workspace: Workspace) -> dict[str, str]:
        return user_labels(workspace)

    def plan(self, workspace: Workspace, seen: Observed, need: Need) -> Plan:
        nodes = _selected(workspace, seen)
        return _plan(readiness.nodes_ready(nodes, need.shape, need.nodes), nodes)


def _plan(nodes_ready: Condition, nodes: list[Node]) -> Plan:
    resource = readiness.resource_ready((nodes_ready,), c.REASON_RESOURCE_NOT_READY)
    return Plan(
        conditions=(nodes_ready, resource),
        worker_nodes=tuple(sorted(node.metadata.name for node in nodes)),
        waits_for=None if nodes_ready.status == "True" else nodes_ready.reason,
    )


def _selected(workspace: Workspace, seen: Observed) -> list[Node]:
    wanted = user_labels(workspace)
    return [node for node in seen.nodes if wanted.items() <= node.metadata.labels.items()]


def _shape(node: Node) -> NodeShape:
    """From the labels of gpu-feature-discovery; without them, what the node itself offers."""
    return NodeShape(
        instance_type="",
        gpu=_gpu(node),
        cpus=int(quantity.parse(node.status.allocatable.get("cpu", "0"))),
        memory_gib=quantity.gib(node.status.allocatable.get("memory", "0")),
    )


def _part(whole: NodeShape, part: Partition) -> NodeShape:
    """A slice of one GPU (MIG), or some of the GPUs; admission has checked the form."""
    if part.mode == "mig":
        size = float(part.profile.partition(".")[2].removesuffix("gb"))
        slice_ = GPU(1, whole.gpu.model, float(int(size)), whole.gpu.compute_capability)
        return dataclasses.replace(whole, gpu=slice_, mig_profile=part.profile)
    count = part.count or whole.gpu.count
    if count > whole.gpu.count:
        raise UserError(
            c.RESOURCE_READY,
            "InvalidPartition",
            f"resource.partition.count: {count} GPUs are more than the {whole.gpu.count} of a node",
        )
    return dataclasses.replace(whole, gpu=dataclasses.replace(whole.gpu, count=count))


def _gpu(node: Node) -> GPU:
    said = node.metadata.labels
    count, memory = said.get(labels.GPU_COUNT_LABEL, ""), said.get(labels.GPU_MEMORY_LABEL, "")
    if not (count.isdigit() and memory.isdigit() and int(count) > 0):
        return NO_GPU
    major = said.get(labels.GPU_COMPUTE_MAJOR_LABEL, "")
    minor = said.get(labels.GPU_COMPUTE_MINOR_LABEL, "")
    return GPU(
        count=int(count),
        model=said.get(labels.GPU_PRODUCT_LABEL, ""),
        memory_gib=float(int(int(memory) / 1024 + 0.5)),
        compute_capability=f"{major}.{minor}" if major and minor else "",
    )


def _spelled(wanted: dict[str, str]) -> str:
    return ", ".join(f"{key}={wanted[key]}" for key in sorted(wanted)) or "(none)"
