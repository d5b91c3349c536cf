"""The controller that says which claims have drifted, and what wakes it."""

from __future__ import annotations

from collections.abc import Iterable

from apis.karpenter.v1.conditions import DRIFTED, LAUNCHED
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind
from gpu_provisioner.indexes import CLASS, POOL, class_key
from gpu_provisioner.nodeclaim.drift import Drift
from gpu_provisioner.shared import Caches, Shared
from kube.controller import Controller, Runnable
from kube.informer import Informer
from kube.meta import Key

DISRUPTION = "nodeclaim.disruption"


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    claims, managed = caches.claims.store, shared.managed
    controller = Controller(
        DISRUPTION,
        caches.claims,
        Drift(shared, caches.stores, shared.metered(DISRUPTION)),
        concerns=managed.claim,
        stirs=_matters,
        backoff=(1.0, 60.0),
        clock=shared.clock,
    )

    def claims_of(pool: NodePool) -> Iterable[Key]:
        found = claims.by_index(POOL, pool.metadata.name)
        return [claim.metadata.key for claim in found if managed.claim(claim)]

    controller.watch(caches.pools, claims_of, stirs=_redefined)
    for kind, informer in caches.node_classes.items():
        _watch_classes(controller, informer, kind, caches)
    return [controller]


def _watch_classes(
    controller: Controller[NodeClaim],
    informer: Informer[NodeClass],
    kind: GroupKind,
    caches: Caches,
) -> None:
    def claims_of(node_class: NodeClass) -> Iterable[Key]:
        key = class_key(kind.group, kind.kind, node_class.metadata.name)
        return [claim.metadata.key for claim in caches.claims.store.by_index(CLASS, key)]

    controller.watch(informer, claims_of, stirs=_redefined)


def _matters(old: NodeClaim, new: NodeClaim) -> bool:
    """Most of what happens to a claim has nothing to do with drift, which costs a call each."""
    return (
        old.metadata.labels != new.metadata.labels
        or old.metadata.annotations != new.metadata.annotations
        or old.metadata.owner_references != new.metadata.owner_references
        or any(old.condition(kind) != new.condition(kind) for kind in (LAUNCHED, DRIFTED))
    )


def _redefined(old: NodePool | NodeClass, new: NodePool | NodeClass) -> bool:
    """A pool counts its nodes: with each that comes all its claims would be looked at."""
    return (
        old.metadata.generation != new.metadata.generation
        or old.metadata.annotations != new.metadata.annotations
    )
