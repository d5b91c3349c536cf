"""The provisioner on an emulated Azure Local site: the vendor's SDK, the real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import cloudproviders
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.arc import provider as arc_provider
from kube.objects import NODES
from tests.fakes.arm.aks import Pool
from tests.fakes.arm.arc import Arc, ArcPool
from tests.fakes.arm.nodes import Kubelets
from tests.fakes.arm.server import ArmServer
from tests.fakes.arm.site import settings
from tests.integration.gpu_provisioner.world import QUICK, Cluster, eventually

pytestmark = pytest.mark.integration

TIMINGS = replace(QUICK, instance_poll=0.2, garbage_collection=0.5, garbage_grace=0.0)
TYPES = ("Standard_NC4_A16", "Standard_NC4_A2")


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    found = Cluster(kubeconfig)
    await found.install()
    await found.empty()
    yield found
    await found.empty()
    await found.client.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that take a second are looked at more often than those that take minutes."""
    for name in ("LOOK_SECONDS", "FRESH_SECONDS"):
        monkeypatch.setattr(arc_provider, name, 0.2)


class Site:
    """An emulated site whose machines join the cluster, and processes that provision from it."""

    def __init__(self, cluster: Cluster) -> None:
        kubelets = Kubelets(cluster.client, "arc")

        async def join(pool: ArcPool) -> None:
            await kubelets.join(cast("Pool", pool))

        async def leave(pool: ArcPool) -> None:
            await kubelets.leave(cast("Pool", pool))

        self.arc = Arc(
            skus=TYPES, create_seconds=0.5, delete_seconds=0.2, on_ready=join, on_gone=leave
        )
        self.server = ArmServer(self.arc)
        self._cluster = cluster

    @asynccontextmanager
    async def provisioner(self) -> AsyncIterator[asyncio.Task[None]]:
        client = self._cluster.new_client()
        cloud = cloudproviders.load("arc", settings(self.server), client)
        try:
            async with self._cluster.provisioner(cloud, timings=TIMINGS, client=client) as running:
                yield running
        finally:
            await cloud.close()

    async def claim(self, name: str, **given: Any) -> None:
        in_types = {"key": "node.kubernetes.io/instance-type", "operator": "In"}
        await self._cluster.create_claim(
            name,
            labels={"kaito.sh/workspace": "phi"},
            requirements=[{**in_types, "values": list(TYPES)}],
            resources={"requests": {"storage": "128Gi"}},
            **given,
        )

    async def gone(self, *names: str) -> None:
        for name in names:
            await self._cluster.client.delete(NODE_CLAIMS, name)

        async def is_gone() -> None:
            assert not (await self._cluster.client.list(NODE_CLAIMS)).items
            assert not (await self._cluster.client.list(NODES)).items
            assert not self.arc.pools

        await eventually(is_gone)


@pytest.fixture
async def site(cluster: Cluster) -> AsyncIterator[Site]:
    found = Site(cluster)
    async with found.server:
        yield found


async def test_claims_come_and_go_one_operation_at_a_time(cluster: Cluster, site: Site) -> None:
    names = ("ws1", "ws2", "ws3")
    async with site.provisioner():
        await asyncio.gather(*(site.claim(name) for name in names))
        claims = [await cluster.ready(name) for name in names]
        await site.gone(*names)

    assert {claim.status.provider_id for claim in claims} == {
        f"moc://moc-{name}0a1b2c" for name in names
    }
    assert all(
        claim.metadata.labels["karpenter.sh/capacity-type"] == "on-demand" for claim in claims
    )
    assert all(claim.status.capacity["nvidia.com/gpu"] == "1" for claim in claims)
    assert site.arc.refused_busy == 0


async def test_no_room_for_one_size_leads_to_the_next(cluster: Cluster, site: Site) -> None:
    site.arc.fate(
        matches=lambda properties: properties["vmSize"] == TYPES[0],
        error="rpc error: code = Unknown desc = OutOfCapacity: no GPU is free",
    )
    async with site.provisioner():
        await site.claim("ws1")
        claim = await cluster.ready("ws1")
        await site.gone("ws1")

    assert claim.metadata.labels["node.kubernetes.io/instance-type"] == TYPES[1]


async def test_a_process_that_dies_leaves_its_pool_to_the_next(
    cluster: Cluster, site: Site
) -> None:
    site.arc.create_seconds = 2.0
    async with site.provisioner() as process:
        await site.claim("ws1")

        async def ordered() -> None:
            assert site.arc.pools

        await eventually(ordered)
        process.cancel()
    async with site.provisioner():
        await cluster.ready("ws1")
        assert len(site.arc.pools) == 1
        await site.gone("ws1")


async def test_a_full_site_is_told_in_its_own_words(cluster: Cluster, site: Site) -> None:
    site.arc.fate(times=float("inf"), error="IPOutOfRange: no address in lnet-1")
    async with site.provisioner():
        await site.claim("ws1")

        async def told() -> None:
            claim = await cluster.claim("ws1")
            assert claim is not None
            launched = claim.condition("Launched")
            assert "no address in lnet-1" in launched.message
            assert launched.reason == "QuotaExceeded"

        await eventually(told)
        await site.gone("ws1")
