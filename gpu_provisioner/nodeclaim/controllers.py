"""The controller of a claim's life, and what wakes it."""

from __future__ import annotations

from collections.abc import Iterable

from apis.karpenter.v1.conditions import READY_DEPENDENTS
from apis.karpenter.v1.labels import TERMINATION_FINALIZER
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind
from gpu_provisioner import indexes
from gpu_provisioner.nodeclaim.initialization import Initialization
from gpu_provisioner.nodeclaim.launch import Launch
from gpu_provisioner.nodeclaim.lifecycle import NodeClaimLifecycle
from gpu_provisioner.nodeclaim.liveness import Liveness
from gpu_provisioner.nodeclaim.readiness import NodeClasses
from gpu_provisioner.nodeclaim.registration import Registration
from gpu_provisioner.nodeclaim.termination import NodeClaimTermination
from gpu_provisioner.nodepool.pools import Pools
from gpu_provisioner.nodepool.registrationhealth import RegistrationHealth
from gpu_provisioner.shared import Caches, Shared, Stores
from kube.controller import Controller, Runnable
from kube.informer import Informer
from kube.meta import Key
from kube.objects import Node

LIFECYCLE = "nodeclaim.lifecycle"
REGISTRATION_HEALTH = "nodepool.registrationhealth"


def registration_health(shared: Shared, stores: Stores) -> RegistrationHealth:
    writes = Pools(shared.client)
    return RegistrationHealth(writes, stores.pools, stores.node_classes, shared.clock)


def lifecycle(shared: Shared, stores: Stores, health: RegistrationHealth) -> NodeClaimLifecycle:
    cloud = shared.metered(LIFECYCLE)
    claims, nodes = shared.claims, shared.nodes
    clock, recorder = shared.clock, shared.recorder
    classes = NodeClasses(shared.client, cloud.node_class_resources, stores.node_classes)
    steps = (
        Launch(cloud, classes, clock),
        Registration(nodes, stores.nodes, health, recorder, clock, cloud.registration_hooks),
        Initialization(cloud, nodes, stores.nodes, clock),
        Liveness(shared.timings, health, clock),
    )
    termination = NodeClaimTermination(
        shared.client, claims, cloud, stores.nodes, recorder, shared.timings, clock
    )
    return NodeClaimLifecycle(claims, steps, termination, recorder)


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    """What is not ours is filtered here, before anybody can act on it."""
    stores = caches.stores
    health = registration_health(shared, stores)
    lives = Controller(
        LIFECYCLE,
        caches.claims,
        lifecycle(shared, stores, health),
        concerns=shared.managed.claim,
        stirs=worth_a_look,
        workers=shared.workers,
        backoff=(1.0, 60.0),
        clock=shared.clock,
    )

    def claims_of(node: Node) -> Iterable[Key]:
        yield from stores.claims_of(node)
        if claim := shared.cloud.claim_of(node):
            yield Key("", claim)

    lives.watch(caches.nodes, claims_of)
    for kind, informer in caches.node_classes.items():
        _wake_waiting(lives, informer, kind, stores)
    return [lives, _pools(shared, caches, health)]


def _wake_waiting(
    lives: Controller[NodeClaim], informer: Informer[NodeClass], kind: GroupKind, stores: Stores
) -> None:
    """A class that has been judged wakes the claims that wait for that."""

    def waiting(node_class: NodeClass) -> Iterable[Key]:
        key = indexes.class_key(kind.group, kind.kind, node_class.metadata.name)
        found = stores.claims.by_index(indexes.CLASS, key)
        return [claim.metadata.key for claim in found if not claim.status.provider_id]

    lives.watch(informer, waiting)


def _pools(shared: Shared, caches: Caches, health: RegistrationHealth) -> Controller[NodePool]:
    managed, stores = shared.managed, caches.stores
    controller = Controller(
        REGISTRATION_HEALTH, caches.pools, health, concerns=managed.pool, clock=shared.clock
    )
    health.wakes(controller.queue.add)
    for kind, informer in caches.node_classes.items():

        def pools_of(node_class: NodeClass, kind: GroupKind = kind) -> Iterable[Key]:
            key = indexes.class_key(kind.group, kind.kind, node_class.metadata.name)
            return [pool.metadata.key for pool in stores.pools.by_index(indexes.CLASS, key)]

        controller.watch(informer, pools_of)
    return controller


def worth_a_look(old: NodeClaim, new: NodeClaim) -> bool:
    """Words on a claim are our own: they must not wake us before the delay that goes with them."""
    robbed = set(old.metadata.finalizers) - set(new.metadata.finalizers)
    return _said(old) != _said(new) or TERMINATION_FINALIZER in robbed


def _said(claim: NodeClaim) -> object:
    """What a round of a claim's life depends on."""
    known = {
        condition.type: condition.status
        for condition in claim.status.conditions
        if condition.type in READY_DEPENDENTS and condition.status != "Unknown"
    }
    metadata = claim.metadata
    return (
        metadata.uid,
        metadata.generation,
        metadata.deletion_timestamp,
        metadata.labels,
        claim.status.provider_id,
        known,
    )
