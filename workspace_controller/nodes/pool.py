"""Nodes by NodePool: one static pool for each owner, which Karpenter keeps at its number. Pure.

Which node stands for which replica, and what is tried again when, is the pool's business; ours
is the number: nodes that the owner needs, less those that are there without the pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from apis.kaito.v1beta1 import conditions as c
from apis.karpenter.v1 import conditions as kc
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.instancetype import InstanceType
from kube.apply import needs_apply, with_applied_hash
from kube.meta import Condition, find_condition
from kube.objects import Node, Unstructured, manifest_of
from workspace_controller import messages
from workspace_controller.errors import UserError
from workspace_controller.manifests import scheduling
from workspace_controller.manifests.nodeclaim import owner_labels
from workspace_controller.manifests.nodepool import (
    POOLS,
    class_in_use,
    node_pool,
    pool_labels,
)
from workspace_controller.manifests.scheduling import Reach
from workspace_controller.nodes import complaints, readiness, shapes, unmanaged
from workspace_controller.nodes.asking import NodeOwner, NodesSeen
from workspace_controller.nodes.classes import NodeClasses
from workspace_controller.nodes.provisioner import (
    Holding,
    Need,
    NodeShape,
    selector,
    user_labels,
)
from workspace_controller.plan import Deletion, Plan, Propagation

_AFTER_ITS_CLAIMS: Propagation = "Foreground"
"""Of a claim whose pool is gone Karpenter complains again and again until it is gone, too."""


@dataclass(frozen=True, slots=True)
class _Stock:
    """What is there: nodes that nobody was asked for, claims of the pool, and claims that stand
    alone, of the time before there was a pool."""

    unmanaged: list[Node]
    pooled: list[NodeClaim]
    alone: list[NodeClaim]

    @property
    def covered(self) -> int:
        return len(self.unmanaged) + len(self.alone)

    @property
    def claims(self) -> list[NodeClaim]:
        return [*self.pooled, *self.alone]


@dataclass(frozen=True, slots=True)
class PoolProvisioner:
    """Keeps a pool for each owner, made from the node classes of the chart."""

    classes: NodeClasses
    instance_types: Mapping[str, InstanceType]

    def shape(self, owner: NodeOwner, seen: NodesSeen) -> NodeShape | None:
        return shapes.asked_for(owner, self.instance_types)

    def waiting(self, owner: NodeOwner, seen: NodesSeen) -> Plan:
        """Never: the catalogue answers at once."""
        return Plan()

    def reach(self, owner: NodeOwner) -> Reach:
        """The pool's nodes, those of claims from before it, and those that count as there."""
        wanted = user_labels(owner)
        type_ = shapes.type_asked_for(owner, self.instance_types)
        return Reach(
            (
                scheduling.labelled({**wanted, **pool_labels(owner)}),
                scheduling.labelled({**wanted, **owner_labels(owner)}),
                *unmanaged.reach_labelled(owner, type_),
                *unmanaged.reach_preferred(owner, type_),
            )
        )

    def holdings(self, owner: NodeOwner) -> tuple[Holding, ...]:
        """Claims that outlive their pool cost as much as any, so they are waited for too."""
        of_pool = selector(pool_labels(owner))
        return (
            Holding(POOLS, of_pool, _AFTER_ITS_CLAIMS),
            Holding(NODE_CLAIMS, of_pool),
            Holding(NODE_CLAIMS, selector(owner_labels(owner))),
        )

    def release(self, owner: NodeOwner, seen: NodesSeen) -> Plan:
        """The pool with its claims, and those that stand alone."""
        found = seen.pool
        pool: tuple[Deletion, ...] = ()
        if found is not None and _is_ours(owner, found) and not _is_going(found):
            pool = (Deletion.of(POOLS, found, _AFTER_ITS_CLAIMS),)
        alone = (each for each in seen.claims if not each.deleting and not _pools_of(each))
        return Plan(delete=(*pool, *(Deletion.of(NODE_CLAIMS, each) for each in alone)))

    def plan(self, owner: NodeOwner, seen: NodesSeen, need: Need) -> Plan:
        """The pool as it should be, and the conditions of its claims and nodes."""
        pool = seen.pool
        _refuse_anothers(owner, pool)
        chosen = self.classes.chosen(owner, need.disk_gib, class_in_use(pool))
        unready = self.classes.not_ready(chosen, seen.node_classes)
        stock = _stock(owner, seen, need.shape)
        replicas = _replicas(seen, stock, need)
        desired = node_pool(owner, need.shape, self.classes, chosen, replicas, pool)
        made = pool is None and replicas > 0 and unready is None
        edited = (
            pool is not None
            and not _is_going(pool)
            and needs_apply(desired, manifest_of(pool, POOLS))
        )

        nodes = unmanaged.each_once(_claimed(seen, stock.claims), stock.unmanaged)
        ready = sum(complaints.is_ready(claim) for claim in stock.claims)
        said = complaints.first(stock.claims) or unready or _complaint(pool)
        claims_ready = complaints.claims_ready(ready, need.nodes - len(stock.unmanaged), said)
        nodes_ready = readiness.nodes_ready(nodes, need.shape, need.nodes)
        resource = readiness.resource_ready((claims_ready, nodes_ready))
        return Plan(
            apply=(with_applied_hash(desired),) if made or edited else (),
            conditions=(claims_ready, nodes_ready, resource),
            worker_nodes=tuple(node.metadata.name for node in nodes),
            waits_for=None if resource.status == "True" else resource.reason,
        )


def _refuse_anothers(owner: NodeOwner, pool: Unstructured | None) -> None:
    """`a-b` in `c` and `b` in `a-c` ask for the same name; two Workspaces on one pool would take
    each other's nodes."""
    if pool is None or _is_ours(owner, pool):
        return
    raise UserError(
        c.RESOURCE_READY,
        "NodePoolNameTaken",
        f"NodePool {pool.metadata.name} exists and is not this {owner.kind}'s; rename the "
        f"{owner.kind}, or delete that NodePool",
    )


def _is_ours(owner: NodeOwner, pool: Unstructured) -> bool:
    return pool_labels(owner).items() <= pool.metadata.labels.items()


def _stock(owner: NodeOwner, seen: NodesSeen, shape: NodeShape) -> _Stock:
    """A claim whose pool is gone will be collected with it, so it counts for nothing."""
    uid = seen.pool.metadata.uid if seen.pool and not _is_going(seen.pool) else ""
    there = unmanaged.each_once(
        unmanaged.marked(owner, seen, shape),
        unmanaged.labelled(owner, seen, shape),
        unmanaged.preferred(owner, seen, shape),
    )
    live = [claim for claim in seen.claims if not claim.deleting]
    owners = {claim.metadata.name: _pools_of(claim) for claim in live}
    return _Stock(
        unmanaged=there,
        pooled=[claim for claim in live if uid and uid in owners[claim.metadata.name]],
        alone=[claim for claim in live if not owners[claim.metadata.name]],
    )


def _pools_of(claim: NodeClaim) -> set[str]:
    owners = claim.metadata.owner_references
    return {owner.uid for owner in owners if owner.kind == POOLS.kind}


def _replicas(seen: NodesSeen, stock: _Stock, need: Need) -> int:
    """Up at once; down once the workload has shrunk, and by no more than it has left: which node
    goes is the pool's choice, and it takes those first that nothing runs on."""
    wanted = max(0, need.nodes - stock.covered)
    has = int(seen.pool.spec.get("replicas") or 0) if seen.pool else 0
    if wanted >= has:
        return wanted
    if not unmanaged.has_shrunk(seen.replicated, need.nodes):
        return has
    busy = unmanaged.busy(seen.pods)
    in_use = sum(claim.status.node_name in busy for claim in stock.pooled)
    return max(wanted, in_use)


def _claimed(seen: NodesSeen, claims: Sequence[NodeClaim]) -> list[Node]:
    named = {claim.status.node_name for claim in claims}
    return [node for node in seen.nodes if node.metadata.name in named]


def _complaint(pool: Unstructured | None) -> Condition | None:
    """Why the pool has too few claims, in its provisioner's words."""
    if pool is None:
        return None
    if _is_going(pool):
        return _because("NodePoolDeleting", f"NodePool {pool.metadata.name} is being deleted")
    given = msgspec.convert(pool.status.get("conditions", []), list[Condition])
    for kind in (kc.REPLICAS_PROVISIONED, kc.READY):
        said = find_condition(given, kind)
        if said is not None and said.status == "False":
            return _because(said.reason, messages.cut(said.message))
    return None


def _because(reason: str, message: str) -> Condition:
    return Condition(type=c.NODE_CLAIM_READY, status="False", reason=reason, message=message)


def _is_going(pool: Unstructured) -> bool:
    return pool.metadata.deletion_timestamp is not None
