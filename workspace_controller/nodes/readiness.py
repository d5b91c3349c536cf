"""Whether nodes can take the workload, and the conditions that say so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apis.kaito.v1beta1 import conditions as c
from apis.karpenter.v1.labels import INSTANCE_TYPE_LABEL
from kube import quantity
from kube.meta import Condition
from kube.objects import Node
from workspace_controller.nodes.provisioner import NodeShape

_PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure")


def is_up(node: Node) -> bool:
    """Ready, and nobody is taking it away."""
    return node.ready and node.metadata.deletion_timestamp is None


def is_of_type(node: Node, instance_type: str) -> bool:
    """Whether it is such a machine; where no type is asked for, any is."""
    if not instance_type:
        return True
    return node.metadata.labels.get(INSTANCE_TYPE_LABEL, "").lower() == instance_type.lower()


def nodes_ready(nodes: Sequence[Node], shape: NodeShape, wanted: int) -> Condition:
    """NodesReady: `wanted` of the nodes are up, of the right type, and advertise their GPUs.

    A surplus or sick node more does no harm: only what is wanted is counted.
    """
    up = [node for node in nodes if is_up(node) and is_of_type(node, shape.instance_type)]
    equipped = [node for node in up if gpus(node, shape) >= shape.gpu.count]
    if len(up) < wanted:
        reason = c.REASON_NODE_NOT_READY
        message = f"{len(up)} of {wanted} Nodes are ready"
        if shape.instance_type:
            message += f" with instance type {shape.instance_type}"
    elif len(equipped) < wanted:
        reason = c.REASON_NODE_PLUGINS_NOT_READY
        message = _missing_gpus(up, shape)
    else:
        return _nodes_ready("True", c.REASON_NODES_READY, "Enough Nodes are ready", nodes)
    return _nodes_ready("False", reason, message, nodes)


def resource_ready(parts: Iterable[Condition], fallback: str = "") -> Condition:
    """ResourceReady: all of `parts` are True, or the reason of the first that is not."""
    for part in parts:
        if part.status != "True":
            return Condition(
                type=c.RESOURCE_READY,
                status="False",
                reason=fallback or part.reason,
                message=part.message,
            )
    return Condition(
        type=c.RESOURCE_READY,
        status="True",
        reason=c.REASON_RESOURCE_SUCCESS,
        message="workspace resource is ready",
    )


def _nodes_ready(status: str, reason: str, message: str, nodes: Sequence[Node]) -> Condition:
    if pressed := _pressure(nodes):
        message += f"; warning: worker node(s) under resource pressure: {pressed}"
    return Condition(
        type=c.NODES_READY,
        status="True" if status == "True" else "False",
        reason=reason,
        message=message,
    )


def gpus(node: Node, shape: NodeShape) -> int:
    """How many of the shape's GPUs, or slices, the node advertises."""
    return int(quantity.parse(node.status.allocatable.get(shape.gpu_resource, "0")))


def _missing_gpus(nodes: Sequence[Node], shape: NodeShape) -> str:
    lacking = (
        f"{node.metadata.name} has {gpus(node, shape)} of {shape.gpu.count}"
        for node in sorted(nodes, key=lambda node: node.metadata.name)
        if gpus(node, shape) < shape.gpu.count
    )
    return f"{shape.gpu_resource} is not allocatable yet: {', '.join(lacking)}"


def _pressure(nodes: Sequence[Node]) -> str:
    pressed = []
    for node in sorted(nodes, key=lambda node: node.metadata.name):
        kinds = [
            condition.type
            for condition in node.status.conditions
            if condition.type in _PRESSURES and condition.status == "True"
        ]
        if kinds:
            pressed.append(f"{node.metadata.name} ({', '.join(kinds)})")
    return ", ".join(pressed)
