"""The one machine that a Compose file is for, as the controller would see it as a node."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apis.gpu import GPU, NO_GPU
from apis.kaito.v1beta1.workspace import Workspace
from kaito import machines
from kaito.machines import UnknownMachineError
from workspace_controller.nodes import shapes
from workspace_controller.nodes.asking import NodeOwner, NodesSeen
from workspace_controller.nodes.byo import BringYourOwn
from workspace_controller.nodes.provisioner import NodeShape

_HOW = (
    "resource.instanceType is not set: say what this machine has, by --cpus with --memory,"
    " --gpu-count with --gpu-memory, --node-labels or --instance-type"
)


@dataclass(frozen=True, slots=True)
class OneMachine(BringYourOwn):
    """A node that is brought along, and no other; the Workspace need not select it."""

    machine: NodeShape = field(kw_only=True)

    def shape(self, owner: NodeOwner, seen: NodesSeen) -> NodeShape | None:
        """What `resource.partition` leaves of the machine."""
        asked = owner.resource.partition if owner.resource else None
        return self.machine if asked is None else shapes.part(self.machine, asked)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As `kaito estimate` has them, and for machines without GPUs."""
    machines.add_arguments(parser)
    parser.add_argument("--cpus", type=_count, metavar="N", help="cores of a machine of your own")
    parser.add_argument("--memory", type=_count, metavar="GIB", help="its RAM")


def of(args: argparse.Namespace) -> NodeShape | None:
    """The machine that the flags name; None where they leave it to the Workspace.

    Raises UnknownMachineError, or UnknownCloudError.
    """
    named = bool(args.instance_type or args.node_labels or args.gpu_count)
    if not named and args.cpus is None and args.memory is None:
        return None
    if not named and (args.cpus is None or args.memory is None):
        raise UnknownMachineError("--cpus and --memory go together: what fits depends on both")
    if not named:
        return NodeShape("", NO_GPU, cpus=args.cpus, memory_gib=float(args.memory))
    found = machines.of(args)
    return NodeShape(
        args.instance_type and found.name,
        found.gpu,
        cpus=args.cpus or int(found.cpus),
        memory_gib=float(args.memory or found.memory_gib),
        mig_profile=found.mig_profile,
    )


def of_workspace(workspace: Workspace, cloud: str) -> NodeShape:
    """The instance type that it asks for. UnknownMachineError where it asks for none, UserError
    where nobody knows the type."""
    # Late, as the catalogues of all clouds need not be read where the flags tell.
    import cloudproviders

    if workspace.resource is None or not workspace.resource.instance_type:
        raise UnknownMachineError(_HOW)
    return shapes.asked_for(workspace, cloudproviders.instance_types(cloud))


def written(shape: NodeShape) -> dict[str, Any]:
    """As the Compose file remembers it."""
    gpu = {
        "count": shape.gpu.count,
        "model": shape.gpu.model,
        "memoryGiB": shape.gpu.memory_gib,
        "computeCapability": shape.gpu.compute_capability,
    }
    return {
        "instanceType": shape.instance_type,
        "cpus": shape.cpus,
        "memoryGiB": shape.memory_gib,
        "gpu": gpu,
        "migProfile": shape.mig_profile,
    }


def read(given: Mapping[str, Any]) -> NodeShape:
    """What `written` wrote; KeyError, TypeError or ValueError where it is something else."""
    gpu = given["gpu"]
    return NodeShape(
        str(given["instanceType"]),
        GPU(
            int(gpu["count"]),
            str(gpu["model"]),
            float(gpu["memoryGiB"]),
            str(gpu["computeCapability"]),
        ),
        cpus=int(given["cpus"]),
        memory_gib=float(given["memoryGiB"]),
        mig_profile=str(given["migProfile"]),
    )


def described(shape: NodeShape) -> str:
    """For people."""
    parts = [shape.instance_type] if shape.instance_type else []
    if shape.gpu.count:
        parts.append(
            f"{shape.gpu.count} x {shape.gpu.model or 'GPU'} of {shape.gpu.memory_gib:g} GiB"
        )
    if shape.cpus:
        parts.append(f"{shape.cpus:g} cores")
    if shape.memory_gib:
        parts.append(f"{shape.memory_gib:g} GiB of RAM")
    return ", ".join(parts)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
