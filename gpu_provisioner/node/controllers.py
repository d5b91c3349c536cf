"""The controllers of Nodes, and what wakes them."""

from __future__ import annotations

from collections.abc import Iterable

from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner.instances import Instances
from gpu_provisioner.node.draining import Draining
from gpu_provisioner.node.eviction import Evictions
from gpu_provisioner.node.health import NodeHealth
from gpu_provisioner.node.instance import InstanceTermination
from gpu_provisioner.node.interruption import InterruptionHandling, Notices
from gpu_provisioner.node.notices import NoticeReader
from gpu_provisioner.node.termination import NodeTermination
from gpu_provisioner.node.volumes import VolumeDetachment
from gpu_provisioner.shared import Caches, Shared, Stores
from kube.controller import Controller, Runnable
from kube.meta import Key
from kube.objects import Node, Pod, VolumeAttachment

NODE_TERMINATION = "node.termination"
NODE_HEALTH = "node.health"
INTERRUPTION = "interruption"


def node_termination(shared: Shared, stores: Stores) -> NodeTermination:
    cloud = shared.metered(NODE_TERMINATION)
    claims = shared.claims
    clock, recorder, timings = shared.clock, shared.recorder, shared.timings
    evictions = Evictions(shared.client, recorder)
    stages = (
        Draining(evictions, claims, stores.pods, recorder, timings, clock),
        VolumeDetachment(
            shared.client, claims, stores.attachments, stores.pods, recorder, timings, clock
        ),
        InstanceTermination(Instances(cloud, claims, recorder, clock), timings),
    )
    return NodeTermination(shared.nodes, claims, cloud, stores.claims, stages, clock)


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
    repair = [_health(shared, caches)] if shared.repair else []
    return [_termination(shared, caches), *repair, *_interruption(shared, caches)]


def _termination(shared: Shared, caches: Caches) -> Runnable:
    stores, managed = caches.stores, shared.managed

    def ending(node: Node) -> bool:
        return node.metadata.deletion_timestamp is not None and managed.node(node)

    termination = Controller(
        NODE_TERMINATION,
        caches.nodes,
        node_termination(shared, stores),
        concerns=ending,
        workers=shared.workers,
        backoff=(0.1, 10.0),
        clock=shared.clock,
    )
    termination.watch(caches.claims, stores.nodes_of)
    termination.watch(caches.pods, _node_of)
    termination.watch(caches.attachments, _node_of)
    return termination


def _health(shared: Shared, caches: Caches) -> Runnable:
    """The claim's own changes matter once: when it is initialized, its devices are counted."""
    stores, managed = caches.stores, shared.managed

    def standing(node: Node) -> bool:
        return node.metadata.deletion_timestamp is None and managed.node(node)

    health = Controller(
        NODE_HEALTH,
        caches.nodes,
        NodeHealth(shared, stores),
        concerns=standing,
        clock=shared.clock,
    )
    health.watch(caches.claims, stores.nodes_of)
    return health


def _interruption(shared: Shared, caches: Caches) -> list[Runnable]:
    """Notices come from the cloud, or stand on a Node; they are carried out claim by claim."""
    stores, managed = caches.stores, shared.managed
    notices = Notices(shared.cloud, managed, stores, shared.clock)

    def concerned(claim: NodeClaim) -> bool:
        return managed.claim(claim) and bool(notices.of(claim))

    handling = Controller(
        INTERRUPTION,
        caches.claims,
        InterruptionHandling(shared, stores, notices),
        concerns=concerned,
        backoff=(0.1, 10.0),
        clock=shared.clock,
    )
    handling.watch(caches.nodes, notices.claims_of)

    def wake(keys: Iterable[Key]) -> None:
        for key in keys:
            handling.queue.add(key)

    return [handling, NoticeReader(shared.cloud, notices, wake, shared.clock)]


def _node_of(placed: Pod | VolumeAttachment) -> Iterable[Key]:
    return [Key("", placed.spec.node_name)] if placed.spec.node_name else []
