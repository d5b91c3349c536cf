"""What runs, over which caches, and what wakes what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.metered import MeteredProvider
from cloudproviders.provider import CloudProvider
from gpu_provisioner import indexes
from gpu_provisioner.events import Events
from gpu_provisioner.managed import Managed
from gpu_provisioner.node.draining import Draining
from gpu_provisioner.node.eviction import Evictions
from gpu_provisioner.node.instance import InstanceTermination
from gpu_provisioner.node.termination import NodeTermination
from gpu_provisioner.node.volumes import VolumeDetachment
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodeclaim.garbagecollection import GarbageCollection
from gpu_provisioner.nodeclaim.initialization import Initialization
from gpu_provisioner.nodeclaim.launch import Launch
from gpu_provisioner.nodeclaim.lifecycle import NodeClaimLifecycle
from gpu_provisioner.nodeclaim.liveness import Liveness
from gpu_provisioner.nodeclaim.registration import Registration
from gpu_provisioner.nodeclaim.termination import NodeClaimTermination
from gpu_provisioner.nodes import Nodes
from gpu_provisioner.settings import Timings
from kube.client import Client
from kube.clock import Clock
from kube.controller import Controller, Singleton
from kube.informer import Informer
from kube.meta import Key
from kube.objects import NODES, PODS, VOLUME_ATTACHMENTS, Node, Pod, VolumeAttachment
from kube.store import Store

LIFECYCLE = "nodeclaim.lifecycle"
NODE_TERMINATION = "node.termination"
GARBAGE_COLLECTION = "nodeclaim.garbagecollection"


@dataclass(frozen=True)
class Stores:
    """The collections that decisions are made from."""

    claims: Store[NodeClaim]
    nodes: Store[Node]
    pods: Store[Pod]
    attachments: Store[VolumeAttachment]

    def claims_of(self, node: Node) -> Iterable[Key]:
        found = self.claims.by_index(indexes.CLAIM_PROVIDER_ID, node.spec.provider_id)
        return [claim.metadata.key for claim in found]

    def nodes_of(self, claim: NodeClaim) -> Iterable[Key]:
        found = self.nodes.by_index(indexes.NODE_PROVIDER_ID, claim.status.provider_id)
        return [node.metadata.key for node in found]


@dataclass(frozen=True)
class Caches:
    """What keeps the stores true."""

    claims: Informer[NodeClaim]
    nodes: Informer[Node]
    pods: Informer[Pod]
    attachments: Informer[VolumeAttachment]

    @classmethod
    def of(cls, client: Client, clock: Clock) -> Caches:
        """Pods that no node has been found for do not matter here."""
        return cls(
            Informer(client, NODE_CLAIMS, indexes=indexes.OF_CLAIMS, clock=clock),
            Informer(client, NODES, indexes=indexes.OF_NODES, clock=clock),
            Informer(
                client, PODS, fields="spec.nodeName!=", indexes=indexes.OF_PLACED, clock=clock
            ),
            Informer(client, VOLUME_ATTACHMENTS, indexes=indexes.OF_PLACED, clock=clock),
        )

    def all(self) -> list[Informer[Any]]:
        return [self.claims, self.nodes, self.pods, self.attachments]

    @property
    def stores(self) -> Stores:
        return Stores(self.claims.store, self.nodes.store, self.pods.store, self.attachments.store)


@dataclass(frozen=True)
class Provisioner:
    """Everything that the controllers share."""

    client: Client
    cloud: CloudProvider
    recorder: Events
    timings: Timings = field(default_factory=Timings)
    clock: Clock = field(default_factory=Clock)
    workers: int = 100

    def lifecycle(self, stores: Stores) -> NodeClaimLifecycle:
        cloud = MeteredProvider(self.cloud, LIFECYCLE)
        claims = Claims(self.client)
        steps = (
            Launch(cloud, self.clock),
            Registration(Nodes(self.client), stores.nodes, self.recorder, self.clock),
            Initialization(Nodes(self.client), stores.nodes, self.clock),
            Liveness(self.timings, self.clock),
        )
        termination = NodeClaimTermination(
            self.client, claims, cloud, stores.nodes, self.recorder, self.timings, self.clock
        )
        return NodeClaimLifecycle(claims, steps, termination, self.recorder)

    def node_termination(self, stores: Stores) -> NodeTermination:
        cloud = MeteredProvider(self.cloud, NODE_TERMINATION)
        claims = Claims(self.client)
        stages = (
            Draining(
                Evictions(self.client, self.recorder),
                claims,
                stores.pods,
                self.recorder,
                self.timings,
                self.clock,
            ),
            VolumeDetachment(
                self.client,
                claims,
                stores.attachments,
                stores.pods,
                self.recorder,
                self.timings,
                self.clock,
            ),
            InstanceTermination(cloud, claims, self.timings, self.clock),
        )
        return NodeTermination(Nodes(self.client), claims, cloud, stores.claims, stages, self.clock)

    def garbage_collection(self, stores: Stores) -> GarbageCollection:
        return GarbageCollection(
            self.client,
            Claims(self.client),
            MeteredProvider(self.cloud, GARBAGE_COLLECTION),
            self._managed,
            stores.claims,
            stores.nodes,
            self.timings,
            self.clock,
        )

    def controllers(self, caches: Caches) -> list[Controller[Any] | Singleton]:
        """What is not ours is filtered here, before anybody can act on it."""
        stores, managed = caches.stores, self._managed
        lifecycle = Controller(
            LIFECYCLE,
            caches.claims,
            self.lifecycle(stores),
            concerns=managed.claim,
            workers=self.workers,
            backoff=(1.0, 60.0),
            clock=self.clock,
        )
        lifecycle.watch(caches.nodes, stores.claims_of)
        node_termination = Controller(
            NODE_TERMINATION,
            caches.nodes,
            self.node_termination(stores),
            concerns=lambda node: (
                node.metadata.deletion_timestamp is not None and managed.node(node)
            ),
            workers=self.workers,
            backoff=(0.1, 10.0),
            clock=self.clock,
        )
        node_termination.watch(caches.claims, stores.nodes_of)
        node_termination.watch(caches.pods, _node_of)
        node_termination.watch(caches.attachments, _node_of)
        garbage_collection = Singleton(
            GARBAGE_COLLECTION,
            self.timings.garbage_collection,
            self.garbage_collection(stores),
            clock=self.clock,
        )
        return [lifecycle, node_termination, garbage_collection]

    @property
    def _managed(self) -> Managed:
        return Managed(self.cloud.node_classes)


def _node_of(placed: Pod | VolumeAttachment) -> Iterable[Key]:
    return [Key("", placed.spec.node_name)] if placed.spec.node_name else []
