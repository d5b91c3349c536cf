"""Pools and node classes on the real API server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

import apis
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import Instance, Pending
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Condition, Manifest, Resource
from kube.objects import CUSTOM_RESOURCE_DEFINITIONS, NODES, Unstructured
from tests.fakes.pools import AKS, PooledCloud, class_manifest, pool_manifest
from tests.integration.gpu_provisioner.world import BootingCloud, Cluster, eventually


class BootingPooledCloud(PooledCloud, BootingCloud):
    """Machines that join by themselves, from pools and classes."""

    def __init__(self, client: Client, **given: Any) -> None:
        BootingCloud.__init__(self, client, **given)
        fresh = PooledCloud()
        self.drifted, self.asked = fresh.drifted, fresh.asked
        self.verdict, self.fields = fresh.verdict, fresh.fields
        self.unresolved = None

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        """A machine boots to its end, whoever dies meanwhile."""
        return await asyncio.shield(super().create(claim))


class PoolCluster:
    """A cluster, seen by a test about its pools."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.client = cluster.client

    async def create_pool(self, name: str = "pool", **given: Any) -> NodePool:
        await self.client.create(pool_manifest(name, **given))
        return await self.pool(name)

    async def pool(self, name: str = "pool") -> NodePool:
        found = await self.client.get(NODE_POOLS, name)
        assert found is not None
        return found

    async def edit(self, spec: Manifest, name: str = "pool") -> None:
        await self.client.patch(NODE_POOLS, name, {"spec": spec})

    async def claims(self, name: str = "pool") -> list[NodeClaim]:
        found = await self.client.list(NODE_CLAIMS, labels=f"karpenter.sh/nodepool={name}")
        return [claim for claim in found.items if not claim.deleting]

    async def has(self, number: int, name: str = "pool") -> list[NodeClaim]:
        """As many claims as that, all of them Ready."""

        async def are_ready() -> list[NodeClaim]:
            found = await self.claims(name)
            assert len(found) == number, [each.metadata.name for each in found]
            assert all(each.is_true("Ready") for each in found)
            assert (await self.pool(name)).status.nodes == number
            return found

        return await eventually(are_ready)

    async def says(self, kind: str, reason: str, name: str = "pool") -> Condition:
        async def is_said() -> Condition:
            said = (await self.pool(name)).condition(kind)
            assert said.reason == reason, (await self.pool(name)).status
            return said

        return await eventually(is_said)

    async def install_classes(self) -> None:
        await self.client.apply(crd("karpenter.azure.com_aksnodeclasses"))

        async def served() -> None:
            await self.client.list(AKS)

        await eventually(served)

    async def uninstall(self, resource: Resource[Any]) -> None:
        """The kind and its objects, whoever holds them."""
        with suppress(Exception):
            for each in (await self.client.list(resource)).items:
                patch = {"metadata": {"finalizers": None}}
                await self.client.patch(resource, each.metadata.name, patch)
        name = f"{resource.plural}.{resource.group}"
        await self.client.delete(CUSTOM_RESOURCE_DEFINITIONS, name)

        async def gone() -> None:
            assert await self.client.get(CUSTOM_RESOURCE_DEFINITIONS, name) is None

        await eventually(gone)

    async def create_class(self, name: str = "gpu", **spec: Any) -> None:
        await self.client.create(class_manifest(name, **spec))

    async def node_class(self, name: str = "gpu") -> NodeClass:
        found = await self.client.get(AKS, name)
        assert found is not None
        return found

    async def collect(self) -> None:
        """What Kubernetes' garbage collector does: dependents of owners that are gone are deleted,
        and so are those of an owner that waits for them (propagation Foreground), which may go
        then. No controller manager runs here."""
        pools = (await self.client.list(NODE_POOLS)).items
        staying = {each.metadata.uid for each in pools if not each.deleting}
        left = set()
        for claim in (await self.client.list(NODE_CLAIMS)).items:
            owners = [each for each in claim.metadata.owner_references if each.kind == "NodePool"]
            assert all(each.api_version == NODE_POOLS.api_version for each in owners)
            left |= {each.uid for each in owners}
            if owners and not any(each.uid in staying for each in owners):
                await self.client.delete(NODE_CLAIMS, claim.metadata.name)
        for pool in pools:
            if pool.deleting and pool.metadata.uid not in left:
                free = [each for each in pool.metadata.finalizers if each != "foregroundDeletion"]
                with suppress(NotFoundError):
                    await self.client.patch(
                        NODE_POOLS, pool.metadata.name, {"metadata": {"finalizers": free}}
                    )

    async def nodes(self) -> list[str]:
        return [each.metadata.name for each in (await self.client.list(NODES)).items]


def crd(name: str) -> Manifest:
    text = (Path(apis.__file__).parent / "crds" / f"{name}.yaml").read_text()
    loaded: Manifest = yaml.safe_load(text)
    return loaded


SCALES: Resource[Unstructured] = Resource(
    NODE_POOLS.group, NODE_POOLS.version, "Scale", NODE_POOLS.plural, Unstructured, namespaced=False
)
"""Of pools: what `kubectl scale` writes."""

WHOLE_AKS: Resource[Unstructured] = Resource(
    AKS.group, AKS.version, AKS.kind, AKS.plural, Unstructured, namespaced=False
)
"""With all of its status."""
