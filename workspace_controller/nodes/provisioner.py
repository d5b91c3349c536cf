"""How a Workspace gets its nodes: one protocol, one module for each way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from apis.gpu import GPU
from apis.kaito.v1beta1.labels import GPU_RESOURCE, RESERVED_SELECTOR_KEYS
from apis.kaito.v1beta1.workspace import Workspace
from workspace_controller.plan import Plan
from workspace_controller.workspace.observed import Observed


@dataclass(frozen=True, slots=True)
class NodeShape:
    """One node as the estimate sees it. `cpus` and `memory_gib` are 0 where nobody knows."""

    instance_type: str
    gpu: GPU
    cpus: int = 0
    memory_gib: float = 0.0
    mig_profile: str = ""

    @property
    def gpu_resource(self) -> str:
        """What pods ask for and nodes advertise: whole GPUs, or slices of one profile."""
        return f"nvidia.com/mig-{self.mig_profile}" if self.mig_profile else GPU_RESOURCE


@dataclass(frozen=True, slots=True)
class Need:
    """What the estimate asks for: how many nodes of a shape, and the disk for the weights."""

    shape: NodeShape
    nodes: int
    disk_gib: int


class NodeProvisioner(Protocol):
    """Nodes are asked for, or are simply there; the steps after this one cannot tell."""

    def shape(self, workspace: Workspace, seen: Observed) -> NodeShape | None:
        """What every node of the Workspace is like; None while no node is there to tell it.

        Raises UserError where no node can ever be had.
        """
        ...

    def plan(self, workspace: Workspace, seen: Observed, need: Need) -> Plan:
        """The claims to make and to drop, NodesReady and its like, and what to wait for."""
        ...

    def waiting(self, workspace: Workspace, seen: Observed) -> Plan:
        """What to say while `shape` is None."""
        ...

    def node_labels(self, workspace: Workspace) -> dict[str, str]:
        """The labels by which pods find these nodes, and no others."""
        ...


def user_labels(workspace: Workspace) -> dict[str, str]:
    """`resource.labelSelector.matchLabels` without the keys by which nodes are marked as taken.

    `matchExpressions` are validated but select nothing, as upstream has it.
    """
    if workspace.resource is None:
        return {}
    wanted = workspace.resource.label_selector.match_labels
    return {key: value for key, value in wanted.items() if key not in RESERVED_SELECTOR_KEYS}
