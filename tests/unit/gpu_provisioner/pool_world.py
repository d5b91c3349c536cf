"""A world with pools and node classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from cloudproviders.nodeclass import NodeClass
from gpu_provisioner.nodeclaim.drift import Drift
from gpu_provisioner.nodeclass.status import NodeClasses
from gpu_provisioner.nodepool.setbacks import Setbacks
from gpu_provisioner.nodepool.static import StaticPools
from gpu_provisioner.nodepool.status import PoolStatus
from gpu_provisioner.shared import Stores
from kube.controller import Result
from kube.meta import Condition, Manifest
from tests.fakes import objects
from tests.fakes.pools import AKS, AKS_KIND, PooledCloud, class_manifest, pool_manifest
from tests.unit.gpu_provisioner.conftest import World


class PoolWorld(World):
    """Each `reconcile_…` is a round as its controller runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.cloud: PooledCloud = PooledCloud(self.clock)
        self.stores = replace(self.stores, node_classes={AKS_KIND: self.kube.store(AKS)})
        self.setbacks = Setbacks(self.clock, self.timings.static_pool_backoff)
        self.drift = Drift(self.shared, self.stores, self.cloud)

    def add_pool(self, name: str = "pool", **given: Any) -> None:
        self.kube.add(pool_manifest(name, **given))

    def edit_pool(self, patch: Manifest, name: str = "pool") -> None:
        """As its author does, which begins a new generation."""
        generation = self.pool(name).metadata.generation + 1
        metadata = {"metadata": {"generation": generation}}
        self.kube.change(NODE_POOLS, name, {**patch, **metadata})

    def scale(self, replicas: int, name: str = "pool") -> None:
        self.edit_pool({"spec": {"replicas": replicas}}, name)

    def pool(self, name: str = "pool") -> NodePool:
        found = self.stores.pools.get(name)
        assert found is not None, f"pool {name} is gone"
        return found

    def said(self, kind: str, name: str = "pool") -> Condition:
        return self.pool(name).condition(kind)

    def static(self, stores: Stores | None = None) -> StaticPools:
        return StaticPools(self.shared, stores or self.stores, self.setbacks)

    async def reconcile_status(self, name: str = "pool") -> Result:
        return await PoolStatus(self.shared, self.stores).reconcile(self.pool(name))

    async def reconcile_static(self, name: str = "pool") -> Result:
        return await self.static().reconcile(self.pool(name))

    async def reconcile_pool(self, name: str = "pool") -> Result:
        await self.reconcile_status(name)
        return await self.reconcile_static(name)

    async def add_filled(self, name: str = "pool", **given: Any) -> list[str]:
        """A pool all of whose nodes have joined and can take work; the claims' names."""
        self.add_pool(name, **given)
        await self.reconcile_pool(name)
        await self.boot(name)
        return self.alive(name)

    async def boot(self, pool: str = "pool") -> None:
        """What has been asked for is bought, joins, and becomes Ready."""
        for name in self.alive(pool):
            if not self.claim(name).is_true("Ready"):
                await self.reconcile(name)
                self.kube.add(objects.node_manifest(self.claim(name).status.provider_id, name))
                await self.reconcile(name)
                await self.reconcile(name)
        await self.reconcile_status(pool)

    def claims_of(self, pool: str = "pool") -> list[NodeClaim]:
        return self.stores.claims.by_index("karpenter.sh/nodepool", pool)

    def alive(self, pool: str = "pool") -> list[str]:
        return sorted(claim.metadata.name for claim in self.claims_of(pool) if not claim.deleting)

    def vanish(self, claim: str) -> None:
        self.kube.vanish(NODE_CLAIMS, claim)

    def sets_out(self, claim: str) -> None:
        """It begins to end, and is not gone yet."""
        self.kube.change(
            NODE_CLAIMS, claim, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
        )

    async def drifts(self, *claims: str) -> None:
        for name in claims:
            before = self.claim(name)
            after = before.with_condition("Drifted", "True", "NodePoolDrifted", now=self.now())
            self.kube.change(NODE_CLAIMS, name, {"status": after.status.to_json()})

    async def reconcile_drift(self, name: str = "ws1") -> Result:
        return await self.drift.reconcile(self.claim(name))

    def add_class(self, name: str = "gpu", **spec: Any) -> None:
        self.kube.add(class_manifest(name, **spec))

    def node_class(self, name: str = "gpu") -> NodeClass:
        found = self.stores.node_classes[AKS_KIND].get(name)
        assert found is not None, f"class {name} is gone"
        return found

    async def reconcile_class(self, name: str = "gpu") -> Result:
        controller = NodeClasses(self.shared, self.stores, self.cloud, AKS)
        return await controller.reconcile(self.node_class(name))
