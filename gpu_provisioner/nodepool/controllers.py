"""The controllers of pools, and what wakes them."""

from __future__ import annotations

from collections.abc import Iterable

from apis.karpenter.v1 import conditions as c
from apis.karpenter.v1.labels import NODEPOOL_LABEL
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind
from gpu_provisioner.indexes import CLASS, class_key
from gpu_provisioner.nodepool import status
from gpu_provisioner.nodepool.setbacks import Setbacks
from gpu_provisioner.nodepool.static import StaticPools
from gpu_provisioner.nodepool.status import PoolStatus
from gpu_provisioner.shared import Caches, Shared
from kube.controller import Controller, Runnable
from kube.meta import Key
from kube.objects import Node

STATUS = "nodepool.status"
STATIC = "nodepool.static"


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    stores, managed = caches.stores, shared.managed
    setbacks = Setbacks(shared.clock, shared.timings.static_pool_backoff)
    caches.claims.subscribe(setbacks.claim_changed)
    caches.pools.subscribe(setbacks.pool_changed)
    caches.pools.subscribe(status.forget)
    told = Controller(
        STATUS,
        caches.pools,
        PoolStatus(shared, stores),
        concerns=managed.pool,
        backoff=(1.0, 60.0),
        clock=shared.clock,
    )
    static = Controller(
        STATIC,
        caches.pools,
        StaticPools(shared, stores, setbacks),
        concerns=managed.pool,
        backoff=(1.0, 60.0),
        clock=shared.clock,
    )
    told.watch(caches.nodes, _pool_of, stirs=_grown)
    told.watch(caches.claims, _pool_of, stirs=_counts_otherwise)
    static.watch(caches.claims, _pool_of, stirs=_stands_otherwise)
    for kind, informer in caches.node_classes.items():
        told.watch(informer, lambda seen, kind=kind: _pools_of(kind, seen, caches))  # type: ignore[misc]
    return [told, static]


def _pool_of(labelled: NodeClaim | Node) -> Iterable[Key]:
    pool = labelled.metadata.labels.get(NODEPOOL_LABEL)
    return [Key("", pool)] if pool else []


def _grown(old: Node, new: Node) -> bool:
    return old.status.capacity != new.status.capacity or old.metadata.labels != new.metadata.labels


def _counts_otherwise(old: NodeClaim, new: NodeClaim) -> bool:
    """What a pool says depends on no more of a claim than this."""
    return (
        old.deleting != new.deleting
        or old.status.provider_id != new.status.provider_id
        or old.status.node_name != new.status.node_name
        or old.status.capacity != new.status.capacity
        or old.metadata.annotations != new.metadata.annotations
        or old.metadata.labels != new.metadata.labels
    )


def _stands_otherwise(old: NodeClaim, new: NodeClaim) -> bool:
    """Nor what is done about its replicas."""
    return (
        old.deleting != new.deleting
        or old.metadata.owner_references != new.metadata.owner_references
        or any(
            old.condition(kind).status != new.condition(kind).status
            for kind in (c.INITIALIZED, c.DRIFTED, c.DISRUPTION_REASON)
        )
    )


def _pools_of(kind: GroupKind, node_class: NodeClass, caches: Caches) -> Iterable[Key]:
    key = class_key(kind.group, kind.kind, node_class.metadata.name)
    return [pool.metadata.key for pool in caches.pools.store.by_index(CLASS, key)]
