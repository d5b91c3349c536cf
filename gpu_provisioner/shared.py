"""What all controllers stand on: the collections, the cloud, the clock, and who tells events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from cloudproviders.metered import MeteredProvider
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import CloudProvider, GroupKind
from gpu_provisioner import indexes
from gpu_provisioner.events import Events
from gpu_provisioner.managed import Managed
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodes import Nodes
from gpu_provisioner.settings import Timings
from kube.client import Client
from kube.clock import Clock
from kube.informer import Informer
from kube.meta import Key
from kube.objects import NODES, PODS, VOLUME_ATTACHMENTS, Node, Pod, VolumeAttachment
from kube.store import Store


@dataclass(frozen=True)
class Stores:
    """The collections that decisions are made from."""

    claims: Store[NodeClaim]
    nodes: Store[Node]
    pods: Store[Pod]
    attachments: Store[VolumeAttachment]
    pools: Store[NodePool] = field(default_factory=lambda: Store(indexes.OF_POOLS))
    node_classes: Mapping[GroupKind, Store[NodeClass]] = field(default_factory=dict)

    def claims_of(self, node: Node) -> Iterable[Key]:
        found = self.claims.by_index(indexes.CLAIM_PROVIDER_ID, node.spec.provider_id)
        return [claim.metadata.key for claim in found]

    def nodes_of(self, claim: NodeClaim) -> Iterable[Key]:
        found = self.nodes.by_index(indexes.NODE_PROVIDER_ID, claim.status.provider_id)
        return [node.metadata.key for node in found]


@dataclass(frozen=True)
class Caches:
    """What keeps the stores true. Pools and node classes may not be served: then their informer
    is empty until they are."""

    claims: Informer[NodeClaim]
    nodes: Informer[Node]
    pods: Informer[Pod]
    attachments: Informer[VolumeAttachment]
    pools: Informer[NodePool]
    node_classes: Mapping[GroupKind, Informer[NodeClass]]

    @classmethod
    def of(cls, client: Client, cloud: CloudProvider, clock: Clock) -> Caches:
        """Pods that no node has been found for do not matter here."""
        return cls(
            Informer(client, NODE_CLAIMS, indexes=indexes.OF_CLAIMS, clock=clock),
            Informer(client, NODES, indexes=indexes.OF_NODES, clock=clock),
            Informer(
                client, PODS, fields="spec.nodeName!=", indexes=indexes.OF_PLACED, clock=clock
            ),
            Informer(client, VOLUME_ATTACHMENTS, indexes=indexes.OF_PLACED, clock=clock),
            Informer(client, NODE_POOLS, indexes=indexes.OF_POOLS, clock=clock, optional=True),
            {
                GroupKind(resource.group, resource.kind): Informer(
                    client, resource, clock=clock, optional=True
                )
                for resource in cloud.node_class_resources
            },
        )

    def all(self) -> list[Informer[Any]]:
        return [
            self.claims,
            self.nodes,
            self.pods,
            self.attachments,
            self.pools,
            *self.node_classes.values(),
        ]

    @property
    def stores(self) -> Stores:
        return Stores(
            self.claims.store,
            self.nodes.store,
            self.pods.store,
            self.attachments.store,
            self.pools.store,
            {kind: informer.store for kind, informer in self.node_classes.items()},
        )


@dataclass(frozen=True)
class Shared:
    """Everything that the controllers share."""

    client: Client
    cloud: CloudProvider
    recorder: Events
    timings: Timings = field(default_factory=Timings)
    clock: Clock = field(default_factory=Clock)
    workers: int = 100
    repair: bool = True
    """Whether nodes that stay sick are replaced."""
    node_classes: tuple[GroupKind, ...] = ()
    """Whose claims are ours, where the operator has said it; the cloud's else."""

    def metered(self, controller: str) -> CloudProvider:
        """The cloud, with its calls counted on behalf of that controller."""
        return MeteredProvider(self.cloud, controller)

    @cached_property
    def claims(self) -> Claims:
        """One for all, so that each knows what the others have written."""
        return Claims(self.client)

    @cached_property
    def nodes(self) -> Nodes:
        """One for all, like `claims`."""
        return Nodes(self.client)

    @property
    def managed(self) -> Managed:
        return Managed(self.node_classes or self.cloud.node_classes)
