"""What a node is like: from the catalogue of its cloud, or from what the node itself says. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from apis.gpu import GPU, NO_GPU
from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import Partition
from apis.karpenter.v1.labels import INSTANCE_TYPE_LABEL
from cloudproviders.instancetype import InstanceType
from kube import quantity
from kube.objects import Node
from workspace_controller.errors import UserError
from workspace_controller.nodes.asking import NodeOwner, must_be_known
from workspace_controller.nodes.provisioner import NodeShape

_UNCUT = frozenset({"", "all-disabled"})


def asked_for(owner: NodeOwner, instance_types: Mapping[str, InstanceType]) -> NodeShape:
    """`resource.instanceType` from the catalogue. A type that it does not have may be asked for
    where nothing must be estimated; else UserError."""
    asked = owner.resource.instance_type if owner.resource else ""
    found = instance_types.get(asked)
    if found is None and not must_be_known(owner):
        return NodeShape(instance_type=asked, gpu=NO_GPU)
    if found is None:
        raise UserError(
            c.RESOURCE_READY,
            "InvalidInstanceType",
            f'resource.instanceType: "{asked}" is not in the catalogue, so nobody knows '
            "whether the preset fits; choose another, or serve with a template",
        )
    return NodeShape(
        instance_type=found.name,
        gpu=found.gpu,
        cpus=found.cpus,
        memory_gib=found.memory_gib,
        nvme=found.nvme,
    )


def type_asked_for(owner: NodeOwner, instance_types: Mapping[str, InstanceType]) -> str:
    """`resource.instanceType` as the catalogue, and so the Nodes, spell it."""
    asked = owner.resource.instance_type if owner.resource else ""
    found = instance_types.get(asked)
    return asked if found is None else found.name


def of_node(node: Node, instance_types: Mapping[str, InstanceType]) -> NodeShape:
    """From the labels of gpu-feature-discovery; without them from its instance type, and
    without that from what the node itself offers."""
    profile = _mig_profile(node)
    gpu = _labelled_gpu(node) or _catalogued_gpu(node, instance_types)
    if profile:
        # Each slice is counted as a GPU, but no two of them can serve one model together.
        gpu = dataclasses.replace(gpu, count=min(1, gpu.count))
    return NodeShape(
        instance_type="",
        gpu=gpu,
        cpus=int(quantity.parse(node.status.allocatable.get("cpu", "0"))),
        memory_gib=quantity.gib(node.status.allocatable.get("memory", "0")),
        mig_profile=profile,
        sliced=bool(profile),
    )


def part(whole: NodeShape, asked: Partition) -> NodeShape:
    """A slice of one GPU (MIG), or some of the GPUs; admission has checked the form."""
    if asked.mode == "mig":
        size = float(asked.profile.partition(".")[2].removesuffix("gb"))
        slice_ = GPU(1, whole.gpu.model, float(int(size)), whole.gpu.compute_capability)
        return dataclasses.replace(whole, gpu=slice_, mig_profile=asked.profile, sliced=False)
    count = asked.count or whole.gpu.count
    if count > whole.gpu.count:
        raise UserError(
            c.RESOURCE_READY,
            "InvalidPartition",
            f"resource.partition.count: {count} GPUs are more than the {whole.gpu.count} of a node",
        )
    return dataclasses.replace(whole, gpu=dataclasses.replace(whole.gpu, count=count))


def serves_as(node: NodeShape, wanted: NodeShape) -> bool:
    """Whether what was planned for the one runs on the other: such GPUs, as many, as large."""
    if not wanted.gpu.count:
        return True
    # Memory as labels tell it is rounded, and drivers differ in what they keep for themselves.
    enough = node.gpu.memory_gib + 1 >= wanted.gpu.memory_gib
    return bool(node.gpu.model == wanted.gpu.model and enough)


def _labelled_gpu(node: Node) -> GPU | None:
    said = node.metadata.labels
    count, memory = said.get(labels.GPU_COUNT_LABEL, ""), said.get(labels.GPU_MEMORY_LABEL, "")
    if not (count.isdigit() and memory.isdigit() and int(count) > 0):
        return None
    major = said.get(labels.GPU_COMPUTE_MAJOR_LABEL, "")
    minor = said.get(labels.GPU_COMPUTE_MINOR_LABEL, "")
    return GPU(
        count=int(count),
        model=said.get(labels.GPU_PRODUCT_LABEL, ""),
        memory_gib=float(int(int(memory) / 1024 + 0.5)),
        compute_capability=f"{major}.{minor}" if major and minor else "",
    )


def _catalogued_gpu(node: Node, instance_types: Mapping[str, InstanceType]) -> GPU:
    found = instance_types.get(node.metadata.labels.get(INSTANCE_TYPE_LABEL, ""))
    return NO_GPU if found is None else found.gpu


def _mig_profile(node: Node) -> str:
    """The profile where all GPUs are cut alike and their slices are advertised as GPUs (strategy
    `single`): gpu-feature-discovery then names it at the end of the product."""
    said = node.metadata.labels
    cut = said.get(labels.MIG_CONFIG_LABEL, "") not in _UNCUT
    if not cut or said.get(labels.MIG_CONFIG_STATE_LABEL) != labels.MIG_CONFIG_DONE:
        return ""
    return said.get(labels.GPU_PRODUCT_LABEL, "").partition("-MIG-")[2]
