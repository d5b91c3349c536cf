"""How a Workspace, or a RAGEngine, gets its nodes: one protocol, one module for each way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from apis.gpu import GPU
from apis.kaito.v1beta1.labels import GPU_RESOURCE, RESERVED_SELECTOR_KEYS
from kube.meta import Resource
from workspace_controller.manifests.scheduling import Reach
from workspace_controller.nodes.asking import NodeOwner, NodesSeen
from workspace_controller.plan import Plan, Propagation


@dataclass(frozen=True, slots=True)
class NodeShape:
    """One node as the estimate sees it. `cpus` and `memory_gib` are 0 where nobody knows.

    With a `mig_profile` its GPU is one slice. `sliced`: the node advertises its slices as GPUs.
    """

    instance_type: str
    gpu: GPU
    cpus: int = 0
    memory_gib: float = 0.0
    mig_profile: str = ""
    sliced: bool = False
    nvme: bool = False
    """With NVMe disks of its own."""

    @property
    def gpu_resource(self) -> str:
        """What pods ask for and nodes advertise: whole GPUs, or slices of one profile."""
        if self.mig_profile and not self.sliced:
            return f"nvidia.com/mig-{self.mig_profile}"
        return GPU_RESOURCE


@dataclass(frozen=True, slots=True)
class Need:
    """What the estimate asks for: how many nodes of a shape, and the disk for the weights."""

    shape: NodeShape
    nodes: int
    disk_gib: int

    def __post_init__(self) -> None:
        """Of no nodes at all there are always enough: such a target would be reached at once."""
        if self.nodes < 1:
            raise ValueError(f"{self.nodes} nodes are no target")


@dataclass(frozen=True, slots=True)
class Holding:
    """Objects that the nodes of an owner hang on: a cluster-scoped kind, and the label
    selector that tells whose they are."""

    resource: Resource[Any]
    labels: str
    propagation: Propagation = ""


class NodeProvisioner(Protocol):
    """Nodes are asked for, or are simply there; the steps after this one cannot tell."""

    def shape(self, owner: NodeOwner, seen: NodesSeen) -> NodeShape | None:
        """What every node of the owner is like; None while no node is there to tell it.

        Raises UserError where no node can ever be had.
        """
        ...

    def plan(self, owner: NodeOwner, seen: NodesSeen, need: Need) -> Plan:
        """The claims to make and to drop, NodesReady and its like, and what to wait for."""
        ...

    def waiting(self, owner: NodeOwner, seen: NodesSeen) -> Plan:
        """What to say while `shape` is None."""
        ...

    def release(self, owner: NodeOwner, seen: NodesSeen) -> Plan:
        """Gives back what was made for the owner, which stays: the deletions, and whatever
        lets it ask for nodes anew later. Nothing once all of it is going."""
        ...

    def reach(self, owner: NodeOwner) -> Reach:
        """By what pods find these nodes, and no others. It depends on the owner alone: what
        it said would otherwise change the pods whenever a node comes or goes."""
        ...

    def holdings(self, owner: NodeOwner) -> tuple[Holding, ...]:
        """What must be gone before the owner may go, to be listed live, never from a cache.

        In the order in which to delete: the next is touched once the one before is on its way
        out, or a pool would replace the claims that are taken from it.
        """
        ...


def user_labels(owner: NodeOwner) -> dict[str, str]:
    """`resource.labelSelector` without the keys by which nodes are marked as taken. An
    expression `In` with one value is a label in other words; admission lets no other pass."""
    if owner.resource is None:
        return {}
    wanted = owner.resource.label_selector.pairs
    return {key: value for key, value in wanted.items() if key not in RESERVED_SELECTOR_KEYS}


def preferred_nodes(owner: NodeOwner) -> tuple[str, ...]:
    """`resource.preferredNodes`, each once."""
    named = owner.resource.preferred_nodes if owner.resource else ()
    return tuple(dict.fromkeys(filter(None, named)))


def selector(labels: Mapping[str, str]) -> str:
    """Labels as a list request spells them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())
