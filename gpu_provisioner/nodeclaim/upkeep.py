"""What keeps claims true once they have their node: the controllers that run beside their life."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner.nodeclaim.consistency import Consistency
from gpu_provisioner.nodeclaim.expiration import Expiration
from gpu_provisioner.nodeclaim.garbagecollection import GarbageCollection
from gpu_provisioner.nodeclaim.hydration import Hydration
from gpu_provisioner.nodeclaim.podevents import PodEvents
from gpu_provisioner.shared import Caches, Shared, Stores
from kube.controller import Controller, Reconciler, Runnable, Singleton
from kube.meta import Key
from kube.objects import Node

GARBAGE_COLLECTION = "nodeclaim.garbagecollection"
EXPIRATION = "nodeclaim.expiration"
CONSISTENCY = "nodeclaim.consistency"
HYDRATION = "nodeclaim.hydration"


def garbage_collection(
    shared: Shared, stores: Stores, unreadable: Callable[[], Container[Key]] = tuple
) -> GarbageCollection:
    return GarbageCollection(shared, stores, shared.metered(GARBAGE_COLLECTION), unreadable)


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    stores = caches.stores
    collector = Singleton(
        GARBAGE_COLLECTION,
        shared.timings.garbage_collection,
        garbage_collection(shared, stores, lambda: caches.claims.unreadable),
        clock=shared.clock,
    )

    def of_claims(name: str, reconciler: Reconciler[NodeClaim]) -> Controller[NodeClaim]:
        return Controller(
            name, caches.claims, reconciler, concerns=shared.managed.claim, clock=shared.clock
        )

    expiration = of_claims(EXPIRATION, Expiration(shared, stores))
    consistency = of_claims(CONSISTENCY, Consistency(shared, stores))
    hydration = of_claims(HYDRATION, Hydration(shared, stores))

    def unlabelled(node: Node) -> Iterable[Key]:
        return () if shared.managed.node(node) else stores.claims_of(node)

    hydration.watch(caches.nodes, unlabelled)
    return [collector, expiration, consistency, hydration, PodEvents(shared, caches)]
