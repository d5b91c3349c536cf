"""Who asks for nodes, and what a round has seen of theirs: all that the ways to nodes know of it.

A Workspace and a RAGEngine both are a NodeOwner, and what each has observed a NodesSeen. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from apis.kaito.v1beta1.workspace import ResourceSpec, Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.objects import Node, Pod, Unstructured
from workspace_controller.marks import Owner


class NodeOwner(Owner, Protocol):
    """What nodes are asked for. Its annotations keep the memory of what was asked."""

    @property
    def resource(self) -> ResourceSpec | None: ...


class NodesSeen(Protocol):
    """The objects that concern one owner's nodes, as the caches show them at `now`."""

    @property
    def now(self) -> datetime: ...

    @property
    def claims(self) -> tuple[NodeClaim, ...]: ...

    @property
    def departed(self) -> tuple[NodeClaim, ...]:
        """The last state of claims that stood for an ordinal and are gone by now."""
        ...

    @property
    def nodes(self) -> tuple[Node, ...]: ...

    @property
    def pods(self) -> tuple[Pod, ...]: ...

    @property
    def taken(self) -> frozenset[str]:
        """The names of those nodes that others fill."""
        ...

    @property
    def pool(self) -> Unstructured | None:
        """The NodePool of the owner's name, whoever made it."""
        ...

    @property
    def node_classes(self) -> Mapping[str, Unstructured] | None:
        """All of the kind in use, by name; None where the cluster does not know the kind."""
        ...

    @property
    def replicated(self) -> Unstructured | None:
        """The workload that has a replica for each node; None where there is none."""
        ...


def must_be_known(owner: NodeOwner) -> bool:
    """Whether the instance type must be in the catalogue: a preset is laid out by what the machine
    has. A template of the user's, and a RAGEngine, run on whatever there is."""
    if not isinstance(owner, Workspace):
        return False
    return owner.inference is None or owner.inference.template is None


def has_known_disk(owner: NodeOwner) -> bool:
    """Whether the disk that is asked for is a need, and not a guess."""
    inference = owner.inference if isinstance(owner, Workspace) else None
    return inference is not None and inference.preset is not None
