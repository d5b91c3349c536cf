"""Nodes that are simply there, named by the user or found by the user's labels. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from apis.kaito.v1beta1 import conditions as c
from cloudproviders.instancetype import InstanceType
from kube.meta import Condition
from kube.objects import Node
from workspace_controller.manifests import scheduling
from workspace_controller.manifests.scheduling import Reach
from workspace_controller.nodes import readiness, shapes, unmanaged
from workspace_controller.nodes.asking import NodeOwner, NodesSeen
from workspace_controller.nodes.provisioner import (
    Holding,
    Need,
    NodeShape,
    preferred_nodes,
    user_labels,
)
from workspace_controller.plan import Plan


@dataclass(frozen=True, slots=True)
class BringYourOwn:
    """Asks for nothing; waits until enough of the user's nodes are ready.

    Those of `resource.preferredNodes` come first, whatever their labels; the rest are those that
    `resource.labelSelector` selects. Where only names are given, only they are meant.
    """

    instance_types: Mapping[str, InstanceType] = field(default_factory=dict)

    def shape(self, owner: NodeOwner, seen: NodesSeen) -> NodeShape | None:
        """The first that can be used speaks for all; what is unlike it is not counted."""
        usable = _usable(owner, seen)
        if not usable:
            return None
        asked = owner.resource.partition if owner.resource else None
        whole = shapes.of_node(usable[0], self.instance_types)
        return whole if asked is None else shapes.part(whole, asked)

    def waiting(self, owner: NodeOwner, seen: NodesSeen) -> Plan:
        message = f"no ready Node {_spelled(owner)}"
        missing = Condition(
            type=c.NODES_READY, status="False", reason=c.REASON_NODE_NOT_READY, message=message
        )
        return _plan(owner, seen, missing, selected(owner, seen.nodes))

    def reach(self, owner: NodeOwner) -> Reach:
        named = unmanaged.reach_preferred(owner)
        wanted = user_labels(owner)
        selected_too = (scheduling.labelled(wanted),) if wanted else ()
        return Reach((*named, *selected_too), first=named if selected_too else ())

    def holdings(self, owner: NodeOwner) -> tuple[Holding, ...]:
        """None: the cluster need not know NodeClaims, nor we be allowed to ask for them."""
        return ()

    def release(self, owner: NodeOwner, seen: NodesSeen) -> Plan:
        """Nothing: the nodes are the user's own."""
        return Plan()

    def plan(self, owner: NodeOwner, seen: NodesSeen, need: Need) -> Plan:
        alike = [
            node
            for node in _usable(owner, seen)
            if shapes.serves_as(shapes.of_node(node, self.instance_types), need.shape)
        ]
        ready = readiness.nodes_ready(alike, need.shape, need.nodes)
        return _plan(owner, seen, ready, alike)


def selected(owner: NodeOwner, nodes: Iterable[Node]) -> list[Node]:
    """The nodes that the owner names, as it names them; then those that it selects."""
    found = {node.metadata.name: node for node in nodes}
    names = preferred_nodes(owner)
    wanted = user_labels(owner)
    labelled = (
        found[name]
        for name in sorted(set(found) - set(names))
        if (wanted or not names) and wanted.items() <= found[name].metadata.labels.items()
    )
    return [*(found[name] for name in names if name in found), *labelled]


def _usable(owner: NodeOwner, seen: NodesSeen) -> list[Node]:
    """Ready, and not filled by another; where a node is cordoned, or has a taint that
    its pods do not tolerate, only if they are there already."""
    here = unmanaged.busy(seen.pods)
    return [
        node
        for node in selected(owner, seen.nodes)
        if readiness.is_up(node)
        and node.metadata.name not in seen.taken
        and (unmanaged.is_open(node) or node.metadata.name in here)
    ]


def _plan(owner: NodeOwner, seen: NodesSeen, nodes_ready: Condition, nodes: Sequence[Node]) -> Plan:
    enough = nodes_ready.status == "True"
    why = "" if enough else _missing(owner, seen)
    said = msgspec.structs.replace(nodes_ready, message=f"{nodes_ready.message}{why}")
    resource = readiness.resource_ready((said,), c.REASON_RESOURCE_NOT_READY)
    return Plan(
        conditions=(said, resource),
        worker_nodes=tuple(sorted(node.metadata.name for node in nodes)),
        waits_for=None if enough else said.reason,
    )


def _missing(owner: NodeOwner, seen: NodesSeen) -> str:
    """What keeps nodes from counting, by name."""
    chosen = {node.metadata.name: node for node in selected(owner, seen.nodes)}
    absent = [name for name in preferred_nodes(owner) if name not in chosen]
    taken = sorted(seen.taken & chosen.keys())
    closed = sorted(name for name, node in chosen.items() if not unmanaged.is_open(node))
    told = (
        ("preferredNodes that do not exist", absent),
        ("used by another Workspace or RAGEngine", taken),
        ("cordoned, or with a taint that is not tolerated", closed),
    )
    return "".join(f"; {what}: {', '.join(names)}" for what, names in told if names)


def _spelled(owner: NodeOwner) -> str:
    wanted, names = user_labels(owner), preferred_nodes(owner)
    by_label = ", ".join(f"{key}={wanted[key]}" for key in sorted(wanted))
    by_name = f"is one of preferredNodes ({', '.join(names)})"
    if not names:
        return f"has the labels {by_label or '(none)'}"
    return f"{by_name} or has the labels {by_label}" if by_label else by_name
