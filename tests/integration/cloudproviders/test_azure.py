"""The provisioner on AKS: the real API server, the vendor's SDK, and an emulated ARM over TLS."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cloudproviders
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.azure import looks
from cloudproviders.provider import CloudProvider
from kube.objects import NODES
from localcluster.binaries import Binaries
from tests.fakes.arm.__main__ import settings as emulated
from tests.fakes.arm.aks import Aks, refused
from tests.fakes.arm.nodes import Kubelets
from tests.fakes.arm.server import ArmServer
from tests.integration.gpu_provisioner.world import QUICK, Cluster, eventually

pytestmark = pytest.mark.integration

SIZE, LARGER = "Standard_NC24ads_A100_v4", "Standard_NC48ads_A100_v4"
QUOTA = (
    "Operation could not be completed as it results in exceeding approved"
    " standardNCADSA100v4Family Cores quota. Additional details - Deployment Model: Resource"
    " Manager, Location: eastus, Current Limit: 0, Current Usage: 0, Additional Required: 24,"
    " (Minimum) New Limit Required: 24."
)


class AksCluster(Cluster):
    """With an ARM beside it, whose machines join as Nodes."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig)
        self.kubelets = Kubelets(self.client)
        self.aks = Aks(
            create_seconds=0.5,
            delete_seconds=0.1,
            on_ready=self.kubelets.join,
            on_gone=self.kubelets.leave,
        )
        self.arm = ArmServer(self.aks)

    def cloud(self, **more: str) -> CloudProvider:
        """A provider as the program makes it, credential and all."""
        given = {**emulated(self.arm), **more}
        return cloudproviders.load("azure", given, self.client)

    async def claim_for(self, name: str, *sizes: str, **given: Any) -> NodeClaim:
        asked = [
            {
                "key": "node.kubernetes.io/instance-type",
                "operator": "In",
                "values": list(sizes) or [SIZE],
            }
        ]
        return await self.create_claim(
            name,
            labels={"kaito.sh/workspace": "phi"},
            requirements=asked,
            resources={"requests": {"storage": "128Gi"}},
            taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            **given,
        )

    async def launched_says(self, name: str, *words: str) -> NodeClaim:
        """Until the claim's condition Launched has all of them."""

        async def says() -> NodeClaim:
            claim = await self.claim(name)
            assert claim is not None
            told = claim.condition("Launched")
            assert all(word in f"{told.reason}: {told.message}" for word in words), told
            return claim

        return await eventually(says)


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[AksCluster]:
    found = AksCluster(kubeconfig)
    await found.install()
    await found.empty()
    await found.arm.start()
    yield found
    await found.arm.stop()
    await found.empty()
    await found.client.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes of a cloud in seconds of a test."""
    monkeypatch.setattr(looks, "CREATE_LOOKS", (1.5, 3.0, 6.0))
    monkeypatch.setattr(looks, "DELETE_LOOKS", (0.3, 1.0, 2.0))
    monkeypatch.setattr(looks, "ABORT_LOOKS", (0.3, 1.0, 2.0))


async def test_a_claim_is_ready_soon_after_its_node(cluster: AksCluster) -> None:
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud):
        await cluster.claim_for("ws1")
        claim = await cluster.ready("ws1")
        ready = time.time()
    await cloud.close()

    assert ready - cluster.kubelets.joined["ws1"] < 3.0
    pool = cluster.aks.pools["ws1"]
    assert claim.status.provider_id == pool.provider_id
    assert claim.status.node_name == pool.node_name
    assert claim.metadata.labels["node.kubernetes.io/instance-type"] == SIZE
    assert claim.metadata.labels["karpenter.sh/capacity-type"] == "on-demand"
    node = await cluster.node(pool.node_name)
    assert node is not None
    assert [str(taint) for taint in node.spec.taints] == ["sku=gpu:NoSchedule"]
    counts = cluster.arm.counts
    assert counts["PUT agentPool"] == 1
    assert counts["GET agentPools"] <= 3


async def test_an_end_leaves_no_pool(cluster: AksCluster) -> None:
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud):
        await cluster.claim_for("ws1")
        await cluster.ready("ws1")
        await cluster.client.delete(NODE_CLAIMS, "ws1")
        await cluster.gone("ws1")
    await cloud.close()

    assert cluster.aks.pools == {}
    assert cluster.arm.counts["DELETE agentPool"] == 1


async def test_a_node_that_is_deleted_takes_its_claim_and_pool_along(cluster: AksCluster) -> None:
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud):
        await cluster.claim_for("ws1")
        claim = await cluster.ready("ws1")
        await cluster.client.delete(NODES, claim.status.node_name)
        await cluster.gone("ws1")
    await cloud.close()

    assert cluster.aks.pools == {}


async def test_operations_of_a_serial_cluster_queue(cluster: AksCluster) -> None:
    cluster.aks.concurrency = 1
    cluster.aks.create_seconds = 1.0
    names = [f"ws{number}" for number in range(4)]
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud):
        for name in names:
            await cluster.claim_for(name)

        async def one_waits() -> None:
            claims = [await cluster.claim(name) for name in names]
            reasons = [claim.condition("Launched").reason for claim in claims if claim]
            assert "Waiting" in reasons, reasons

        await eventually(one_waits)
        for name in names:
            await eventually(lambda name=name: cluster.ready(name), 40.0)  # type: ignore[misc]
    await cloud.close()

    assert cluster.aks.most_at_once == 1
    assert cluster.aks.refused_busy <= 2


async def test_case_07_quota_stands_on_the_claim_and_is_asked_for_once(
    cluster: AksCluster, binaries: Binaries
) -> None:
    cluster.aks.sold_out(SIZE, "QuotaExceeded", QUOTA)
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud):
        await cluster.claim_for("ws1")
        await cluster.launched_says("ws1", "QuotaExceeded", SIZE, "limit 0, in use 0, 24 more")
        await asyncio.sleep(4.0)  # several rounds of the controller's backoff
        seen = await described(cluster, binaries, "ws1")
    await cloud.close()

    assert "standardNCADSA100v4Family Cores" in seen
    assert "https://aka.ms/ProdportalCRP" in seen
    assert cluster.arm.counts["PUT agentPool"] == 1
    assert cluster.aks.pools == {}


async def test_what_the_cloud_does_is_read_on_the_claim(
    cluster: AksCluster, binaries: Binaries
) -> None:
    cluster.aks.create_seconds = 5.0
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud):
        await cluster.claim_for("ws1")
        await cluster.launched_says("ws1", "agent pool ws1", "Creating since")
        seen = await described(cluster, binaries, "ws1")
    await cloud.close()

    assert f"agent pool ws1 ({SIZE}, on-demand): Creating since" in seen


async def test_a_zone_that_is_sold_out_is_followed_by_the_next(cluster: AksCluster) -> None:
    cluster.aks.sold_out(SIZE, "ZonalAllocationFailed", "no capacity in the zone", zone="1")
    cloud = cluster.cloud(AZURE_ZONES="1,2")
    async with cluster.provisioner(cloud):
        await cluster.claim_for("ws1")
        claim = await cluster.ready("ws1")
    await cloud.close()

    assert claim.metadata.labels["topology.kubernetes.io/zone"] == "emulator-2"
    assert cluster.aks.pools["ws1"].properties["availabilityZones"] == ["2"]
    assert cluster.arm.counts["PUT agentPool"] == 2


async def test_a_pool_that_fails_late_is_cleared_away_for_the_next_size(
    cluster: AksCluster,
) -> None:
    cluster.aks.fate(
        matches=lambda name, asked: asked["vmSize"] == SIZE,
        error={"code": "AllocationFailed", "message": "no capacity for the size"},
    )
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud):
        await cluster.claim_for("ws1", SIZE, LARGER)
        claim = await cluster.ready("ws1")
    await cloud.close()

    assert claim.metadata.labels["node.kubernetes.io/instance-type"] == LARGER
    assert len(cluster.aks.pools) == 1


@pytest.mark.parametrize("after", [0.0, 0.2, 0.7], ids=["at once", "ordered", "machine up"])
async def test_case_08_killed_in_mid_create_there_is_one_pool(
    cluster: AksCluster, after: float
) -> None:
    first = cluster.cloud()
    async with cluster.provisioner(first) as running:
        await cluster.claim_for("ws1")
        with suppress(AssertionError):
            await eventually(_ordered(cluster), 5.0 if after else 0.05)
        await asyncio.sleep(after)
        running.cancel()
    await first.close()

    second = cluster.cloud()
    begun = time.monotonic()
    async with cluster.provisioner(second):
        await cluster.ready("ws1")
    await second.close()

    assert time.monotonic() - begun < 5.0
    assert len(cluster.aks.pools) == 1
    assert cluster.arm.counts["PUT agentPool"] == 1


async def test_without_a_token_service_it_waits(cluster: AksCluster) -> None:
    cluster.arm.tokens.away = True
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud) as running:
        await cluster.claim_for("ws1")
        await cluster.launched_says("ws1", "LaunchFailed", "Microsoft Entra gives no token")
        assert not running.done()
        cluster.arm.tokens.away = False
        await cluster.ready("ws1")
    await cloud.close()


async def test_an_instance_without_a_claim_is_garbage_and_a_strangers_pool_is_not(
    cluster: AksCluster,
) -> None:
    cloud = cluster.cloud()
    await cluster.claim_for("ws1")
    claim = await cluster.claim("ws1")
    assert claim is not None
    await cloud.create(claim)
    cluster.aks.pools["byhand"] = replace(
        cluster.aks.pools["ws1"], name="byhand", properties={"vmSize": SIZE}
    )
    await cluster.client.delete(NODE_CLAIMS, "ws1")
    timings = replace(QUICK, garbage_collection=0.2, garbage_grace=0.5)
    async with cluster.provisioner(cloud, timings=timings):

        async def collected() -> None:
            assert set(cluster.aks.pools) == {"byhand"}

        await eventually(collected)
    await cloud.close()


async def test_denied_pools_are_told_with_the_remedy(cluster: AksCluster) -> None:
    cluster.arm.fault(
        times=100,
        matches=lambda call: call.method == "PUT",
        refusal=refused(403, "AuthorizationFailed", "may not write agentPools"),
    )
    cloud = cluster.cloud()
    async with cluster.provisioner(cloud):
        await cluster.claim_for("ws1")
        await cluster.launched_says("ws1", "AuthorizationFailed", "docs/clouds/azure.md")
    await cloud.close()


def _ordered(cluster: AksCluster) -> Any:
    async def ordered() -> None:
        assert "ws1" in cluster.aks.pools

    return ordered


async def described(cluster: AksCluster, binaries: Binaries, name: str) -> str:
    """What `kubectl describe nodeclaim` shows."""
    (kubectl,) = binaries.paths(["kubectl"]).values()
    argv = [str(kubectl), "--kubeconfig", str(cluster.kubeconfig), "describe", "nodeclaim", name]
    answer = await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, check=True
    )
    return answer.stdout
