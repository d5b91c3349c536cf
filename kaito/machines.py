"""The node that an estimate is about: an instance type, or one that is brought along."""

from __future__ import annotations

import argparse
import difflib
from dataclasses import dataclass, replace

from apis.gpu import GPU
from kaito import complete

_INSTEAD = "--instance-type, --gpu-count with --gpu-memory, or --node-labels"


class UnknownMachineError(LookupError):
    """Nothing tells what the node is like; the message says how to."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`memory_gib` and `cpus` are 0 where nobody knows."""

    name: str
    gpu: GPU
    memory_gib: float = 0.0
    cpus: float = 0.0
    mig_profile: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One of three ways to name it."""
    complete.of(
        parser.add_argument("--instance-type", metavar="SKU", default=""), complete.instance_types
    )
    parser.add_argument("--cloud", default="azure", help="whose catalogue (default: azure)")
    parser.add_argument("--gpu-count", type=_count, metavar="N", help="of a node of your own")
    parser.add_argument("--gpu-memory", type=_count, metavar="GIB", help="of one GPU")
    parser.add_argument("--gpu-product", default="", metavar="NAME", help="such as NVIDIA-A10")
    parser.add_argument(
        "--node-labels", default="", metavar="K=V,…", help="as kubectl get nodes --show-labels has"
    )
    parser.add_argument("--mig-profile", default="", metavar="PROFILE", help="such as 1g.10gb")


def of(args: argparse.Namespace) -> Machine:
    """Raises UnknownMachineError, or UnknownCloudError."""
    machine = _whole(args)
    if not args.mig_profile:
        return machine
    size = args.mig_profile.partition("g.")[2].removesuffix("gb")
    if not size.isdigit():
        raise UnknownMachineError(f"--mig-profile: {args.mig_profile!r} is not as 1g.10gb")
    # As KAITO reads it: the suffix is the slice's memory.
    slice_ = replace(machine.gpu, count=1, memory_gib=float(size))
    return replace(machine, gpu=slice_, mig_profile=args.mig_profile)


def _whole(args: argparse.Namespace) -> Machine:
    given = [bool(args.instance_type), args.gpu_count is not None, bool(args.node_labels)]
    if sum(given) != 1:
        raise UnknownMachineError(f"say what the node is like, by one of {_INSTEAD}")
    if args.instance_type:
        return _of_cloud(args.cloud, args.instance_type)
    if args.node_labels:
        return _of_labels(args.node_labels, args.cloud)
    if args.gpu_memory is None:
        raise UnknownMachineError("--gpu-count needs --gpu-memory")
    return Machine("a node of your own", GPU(args.gpu_count, args.gpu_product, args.gpu_memory))


def _of_cloud(cloud: str, name: str) -> Machine:
    # Late, as the catalogues of all clouds need not be read for other commands.
    import cloudproviders

    types = cloudproviders.instance_types(cloud)
    if (found := types.get(name)) is not None:
        return Machine(found.name, found.gpu, found.memory_gib, found.cpus)
    by_folded = {each.casefold(): each for each in types}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=3)
    hint = f"; did you mean {', '.join(by_folded[each] for each in near)}?" if near else ""
    raise UnknownMachineError(f"unknown instance type {name!r} of {cloud}{hint}")


def _of_labels(text: str, cloud: str) -> Machine:
    """As the controller reads a node: by gpu-feature-discovery's labels, or its instance type."""
    import cloudproviders
    from kube.meta import ObjectMeta
    from kube.objects import Node
    from workspace_controller.nodes import shapes

    pairs = [entry.partition("=") for entry in text.split(",") if entry.strip()]
    labels = {key.strip(): value.strip() for key, _, value in pairs}
    shape = shapes.of_node(
        Node(metadata=ObjectMeta(name="node", labels=labels)), cloudproviders.instance_types(cloud)
    )
    if not shape.gpu.count:
        raise UnknownMachineError(
            "--node-labels: neither nvidia.com/gpu.count with nvidia.com/gpu.memory nor a known "
            "node.kubernetes.io/instance-type is among them"
        )
    return Machine("a labelled node", shape.gpu, mig_profile=shape.mig_profile)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
