"""The controller of a claim's life, and what wakes it."""

from __future__ import annotations

from collections.abc import Iterable

from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodeclaim.initialization import Initialization
from gpu_provisioner.nodeclaim.launch import Launch
from gpu_provisioner.nodeclaim.lifecycle import NodeClaimLifecycle
from gpu_provisioner.nodeclaim.liveness import Liveness
from gpu_provisioner.nodeclaim.registration import Registration
from gpu_provisioner.nodeclaim.termination import NodeClaimTermination
from gpu_provisioner.nodes import Nodes
from gpu_provisioner.shared import Caches, Shared, Stores
from kube.controller import Controller, Runnable
from kube.meta import Key
from kube.objects import Node

LIFECYCLE = "nodeclaim.lifecycle"


def lifecycle(shared: Shared, stores: Stores) -> NodeClaimLifecycle:
    cloud = shared.metered(LIFECYCLE)
    claims = Claims(shared.client)
    clock, recorder = shared.clock, shared.recorder
    steps = (
        Launch(cloud, clock),
        Registration(Nodes(shared.client), stores.nodes, recorder, clock),
        Initialization(Nodes(shared.client), stores.nodes, clock),
        Liveness(shared.timings, clock),
    )
    termination = NodeClaimTermination(
        shared.client, claims, cloud, stores.nodes, recorder, shared.timings, clock
    )
    return NodeClaimLifecycle(claims, steps, termination, recorder)


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    """What is not ours is filtered here, before anybody can act on it."""
    stores = caches.stores
    controller = Controller(
        LIFECYCLE,
        caches.claims,
        lifecycle(shared, stores),
        concerns=shared.managed.claim,
        workers=shared.workers,
        backoff=(1.0, 60.0),
        clock=shared.clock,
    )

    def claims_of(node: Node) -> Iterable[Key]:
        yield from stores.claims_of(node)
        if claim := shared.cloud.claim_of(node):
            yield Key("", claim)

    controller.watch(caches.nodes, claims_of)
    return [controller]
