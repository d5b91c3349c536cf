"""The controllers of Nodes, and what wakes them."""

from __future__ import annotations

from collections.abc import Iterable

from gpu_provisioner.node.draining import Draining
from gpu_provisioner.node.eviction import Evictions
from gpu_provisioner.node.instance import InstanceTermination
from gpu_provisioner.node.termination import NodeTermination
from gpu_provisioner.node.volumes import VolumeDetachment
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodes import Nodes
from gpu_provisioner.shared import Caches, Shared, Stores
from kube.controller import Controller, Runnable
from kube.meta import Key
from kube.objects import Node, Pod, VolumeAttachment

NODE_TERMINATION = "node.termination"


def node_termination(shared: Shared, stores: Stores) -> NodeTermination:
    cloud = shared.metered(NODE_TERMINATION)
    claims = Claims(shared.client)
    clock, recorder, timings = shared.clock, shared.recorder, shared.timings
    evictions = Evictions(shared.client, recorder)
    stages = (
        Draining(evictions, claims, stores.pods, recorder, timings, clock),
        VolumeDetachment(
            shared.client, claims, stores.attachments, stores.pods, recorder, timings, clock
        ),
        InstanceTermination(cloud, claims, timings, clock),
    )
    return NodeTermination(Nodes(shared.client), claims, cloud, stores.claims, stages, clock)


def controllers(shared: Shared, caches: Caches) -> list[Runnable]:
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
    return [termination]


def _node_of(placed: Pod | VolumeAttachment) -> Iterable[Key]:
    return [Key("", placed.spec.node_name)] if placed.spec.node_name else []
