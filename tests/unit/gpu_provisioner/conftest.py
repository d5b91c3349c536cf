"""A provisioner over an API server in memory, a fake cloud and a clock that stands still."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import GroupKind
from gpu_provisioner import indexes
from gpu_provisioner.node import controllers as node
from gpu_provisioner.nodeclaim import controllers as nodeclaim
from gpu_provisioner.nodeclaim import upkeep
from gpu_provisioner.nodeclaim.lifecycle import NodeClaimLifecycle
from gpu_provisioner.nodepool.registrationhealth import RegistrationHealth
from gpu_provisioner.settings import Timings
from gpu_provisioner.shared import Shared, Stores
from kube.client import Client
from kube.controller import Result
from kube.meta import Condition, Resource
from kube.objects import NODES, PODS, VOLUME_ATTACHMENTS, Node
from kube.store import Store
from tests.fakes import objects
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.events import Events
from tests.fakes.memorykube import MemoryKube


class World:
    """What there is, and the reconcilers that act on it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kube = MemoryKube(self.clock)
        self.cloud = FakeCloud(self.clock)
        self.events = Events()
        self.timings = Timings()
        self._life: tuple[Timings, NodeClaimLifecycle] | None = None
        self._health: RegistrationHealth | None = None
        self.node_classes: dict[GroupKind, Store[NodeClass]] = {}
        self.stores = Stores(
            self.kube.store(NODE_CLAIMS, indexes.OF_CLAIMS),
            self.kube.store(NODES, indexes.OF_NODES),
            self.kube.store(PODS, indexes.OF_PLACED),
            self.kube.store(VOLUME_ATTACHMENTS, indexes.OF_PLACED),
            self.kube.store(NODE_POOLS, indexes.OF_POOLS),
            self.node_classes,
        )

    def serve(self, kind: GroupKind, resource: Resource[NodeClass]) -> None:
        """A kind of node class that is an object."""
        self.node_classes[kind] = self.kube.store(resource)

    @property
    def shared(self) -> Shared:
        return Shared(cast("Client", self.kube), self.cloud, self.events, self.timings, self.clock)

    @property
    def health(self) -> RegistrationHealth:
        """As long as the process lives; `restart` ends it."""
        if self._health is None:
            self._health = nodeclaim.registration_health(self.shared, self.stores)
        return self._health

    @property
    def lifecycle(self) -> NodeClaimLifecycle:
        """As long as the process lives, with its settings as they are."""
        if self._life is None or self._life[0] != self.timings:
            life = nodeclaim.lifecycle(self.shared, self.stores, self.health)
            self._life = (self.timings, life)
        return self._life[1]

    def restart(self) -> None:
        """Another process: whatever was kept in memory is lost."""
        self._life = self._health = None

    async def reconcile(self, name: str = "ws1") -> Result:
        """One round of the claim's life, as its controller runs it."""
        return await self.lifecycle.reconcile(self.claim(name))

    async def reconcile_node(self, name: str = "ws1") -> Result:
        termination = node.node_termination(self.shared, self.stores)
        return await termination.reconcile(self.node(name))

    async def collect_garbage(self) -> None:
        await upkeep.garbage_collection(self.shared, self.stores)()

    def add_claim(self, name: str = "ws1", **given: Any) -> None:
        self.kube.add(objects.claim_manifest(name, **given))

    async def add_launched(self, name: str = "ws1", **given: Any) -> str:
        """A claim whose machine was bought; its provider id."""
        self.add_claim(name, **given)
        await self.reconcile(name)
        return self.claim(name).status.provider_id

    async def add_ready(self, name: str = "ws1", **given: Any) -> None:
        """A claim whose node has joined and can take work."""
        provider_id = await self.add_launched(name, **given)
        self.kube.add(objects.node_manifest(provider_id, name))
        await self.reconcile(name)
        await self.reconcile(name)
        assert self.claim(name).is_true("Ready")

    def claim(self, name: str = "ws1") -> NodeClaim:
        found = self.stores.claims.get(name)
        assert found is not None, f"claim {name} is gone"
        return found

    def has_claim(self, name: str = "ws1") -> bool:
        return self.stores.claims.get(name) is not None

    def node(self, name: str = "ws1") -> Node:
        found = self.stores.nodes.get(name)
        assert found is not None, f"node {name} is gone"
        return found

    def has_node(self, name: str = "ws1") -> bool:
        return self.stores.nodes.get(name) is not None

    def condition(self, kind: str, name: str = "ws1") -> Condition:
        return self.claim(name).condition(kind)

    def now(self) -> datetime:
        return self.clock.now()


@pytest.fixture
def world() -> World:
    return World()
