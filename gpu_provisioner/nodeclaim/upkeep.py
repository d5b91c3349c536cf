"""What keeps claims true once they have their node: the controllers that run beside their life."""

from __future__ import annotations

from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodeclaim.garbagecollection import GarbageCollection
from gpu_provisioner.shared import Caches, Shared, Stores
from kube.controller import Runnable, Singleton

GARBAGE_COLLECTION = "nodeclaim.garbagecollection"


def garbage_collection(shared: Shared, stores: Stores) -> GarbageCollection:
    return GarbageCollection(
        shared.client,
        Claims(shared.client),
        shared.metered(GARBAGE_COLLECTION),
        shared.managed,
        stores.claims,
        stores.nodes,
        shared.timings,
        shared.clock,
    )


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    collector = Singleton(
        GARBAGE_COLLECTION,
        shared.timings.garbage_collection,
        garbage_collection(shared, caches.stores),
        clock=shared.clock,
    )
    return [collector]
