"""The provisioner on an emulated GKE: Google's own client, the real API server, kubelets played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import cloudproviders
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.gcp import cluster as gcp_cluster
from cloudproviders.gcp import orders
from cloudproviders.provider import CloudProvider
from kube.objects import NODES
from tests.fakes.gke.compute import ComputeServer
from tests.fakes.gke.gke import Fate, Gke, Refusal
from tests.fakes.gke.nodes import Kubelets
from tests.fakes.gke.server import Fault, GkeServer
from tests.integration.gpu_provisioner.world import QUICK, Cluster, eventually

pytestmark = pytest.mark.integration

TIMINGS = replace(QUICK, instance_poll=0.2, garbage_collection=0.5, garbage_grace=0.0)
FOREVER = float("inf")
QUOTA = (
    'Insufficient regional quota to satisfy request: resource "NVIDIA_L4_GPUS": request requires'
    " '1.0' and is short '1.0'. project has a quota of '0.0' with '0.0' available."
)


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    found = Cluster(kubeconfig)
    await found.install()
    await found.empty()
    yield found
    await found.empty()
    await found.client.close()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools are looked at without a Node that would call for it."""
    monkeypatch.setattr(orders, "FIRST_LOOK_SECONDS", 0.5)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that take a second are looked at more often than those that take minutes."""
    for name in ("LOOK_SECONDS", "GOING_SECONDS", "OPERATIONS_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(gcp_cluster, name, 0.2)
    for name in ("TURN_SECONDS", "GOING_SECONDS"):
        monkeypatch.setattr(orders, name, 0.2)


class Google:
    """An emulated GKE whose machines join the cluster, and processes that provision from it."""

    def __init__(self, cluster: Cluster) -> None:
        self.kubelets = Kubelets(cluster.client)
        self.gke = Gke(
            create_seconds=1.0,
            delete_seconds=0.3,
            on_ready=self.kubelets.join,
            on_gone=self.kubelets.leave,
        )
        self.server = GkeServer(self.gke, pulse=True)
        self.compute = ComputeServer()
        self._cluster = cluster

    @asynccontextmanager
    async def provisioner(self) -> AsyncIterator[asyncio.Task[None]]:
        client = self._cluster.new_client()
        settings = {
            **self.gke.endpoint_settings(),
            "GCP_ENDPOINT": self.server.url,
            "GCP_COMPUTE_ENDPOINT": self.compute.url,
        }
        cloud: CloudProvider = cloudproviders.load("gcp", settings, client)
        try:
            async with self._cluster.provisioner(cloud, timings=TIMINGS, client=client) as running:
                yield running
        finally:
            await cloud.close()

    async def claim(self, name: str, **given: Any) -> None:
        await self._cluster.create_claim(
            name,
            instance_type="g2-standard-4",
            labels={"kaito.sh/workspace": "phi"},
            taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            resources={"requests": {"storage": "128Gi"}},
            **given,
        )

    async def gone(self, *names: str) -> None:
        """The claims, and whatever was made for them."""
        for name in names:
            await self._cluster.client.delete(NODE_CLAIMS, name)

        async def is_gone() -> None:
            assert not (await self._cluster.client.list(NODE_CLAIMS)).items
            assert not (await self._cluster.client.list(NODES)).items
            assert not self.gke.pools

        await eventually(is_gone)


@pytest.fixture
async def google(cluster: Cluster) -> AsyncIterator[Google]:
    found = Google(cluster)
    async with found.server, found.compute:
        yield found


async def said(cluster: Cluster, name: str, reason: str) -> NodeClaim:
    """The claim, once its Launched has that reason."""

    async def is_said() -> NodeClaim:
        claim = await cluster.claim(name)
        assert claim is not None
        assert claim.condition("Launched").reason == reason, claim.status
        return claim

    return await eventually(is_said)


async def test_case_01_a_claim_is_ready_soon_after_its_node(
    cluster: Cluster, google: Google
) -> None:
    async with google.provisioner():
        await google.claim("ws1")
        claim = await cluster.ready("ws1")
        late = (datetime.now(UTC) - google.kubelets.joined["ws1"]).total_seconds()
        node = await cluster.node(claim.status.node_name)
        await google.gone("ws1")

    assert late < 3.0
    assert claim.status.provider_id.startswith("gce://emulator-project/us-central1-a/gke-emulator-")
    assert claim.metadata.labels["topology.kubernetes.io/zone"] == "us-central1-a"
    assert claim.metadata.labels["karpenter.sh/capacity-type"] == "on-demand"
    assert claim.status.capacity["nvidia.com/gpu"] == "1"
    assert node is not None
    assert node.metadata.labels["kaito.sh/workspace"] == "phi"
    assert node.metadata.labels["cloud.google.com/gke-nodepool"] == "ws1"
    assert {taint.key for taint in node.spec.taints} == {"sku", "nvidia.com/gpu"}
    assert google.server.counts["CreateNodePool"] == google.server.counts["DeleteNodePool"] == 1


@pytest.mark.usefixtures("watched")
async def test_a_zone_that_is_sold_out_sends_the_claim_to_the_next(
    cluster: Cluster, google: Google
) -> None:
    google.gke.fates.append(
        Fate(times=FOREVER, zone="us-central1-a", code="GCE_STOCKOUT", message="none", stuck=True)
    )
    async with google.provisioner():
        await google.claim("ws1")
        claim = await cluster.ready("ws1")
        await google.claim("ws2")
        second = await cluster.ready("ws2")
        google.gke.relents("ws1")  # and only then does GKE let go of the first pool
        await google.gone("ws1", "ws2")

    assert claim.metadata.labels["topology.kubernetes.io/zone"] == "us-central1-b"
    assert second.metadata.labels["topology.kubernetes.io/zone"] == "us-central1-b"
    assert google.server.counts["CreateNodePool"] == 3


@pytest.mark.usefixtures("watched")
async def test_case_04_nothing_left_anywhere_gives_the_claim_up(
    cluster: Cluster, google: Google
) -> None:
    google.gke.fates.append(Fate(times=FOREVER, code="GCE_STOCKOUT", message="none"))
    async with google.provisioner():
        await google.claim("ws1")

        async def is_gone() -> None:
            assert await cluster.claim("ws1") is None
            assert not google.gke.pools

        await eventually(is_gone, seconds=30)

    (told,) = [each for each in cluster.events.told if each.reason == "InsufficientCapacityError"]
    assert "GCE_STOCKOUT: none" in told.message
    assert "us-central1-a, us-central1-b" in told.message


async def test_case_06_a_quota_stands_on_the_claim(cluster: Cluster, google: Google) -> None:
    google.gke.fates.append(Fate(times=FOREVER, refusal=Refusal("PERMISSION_DENIED", QUOTA)))
    async with google.provisioner():
        await google.claim("ws1")
        claim = await said(cluster, "ws1", "QuotaExceeded")
        await asyncio.sleep(2.5)
        await google.gone("ws1")

    message = claim.condition("Launched").message
    assert message.startswith("quota NVIDIA_L4_GPUS (limit 0, asked 1, missing 1), raise it")
    assert google.server.counts["CreateNodePool"] == 1


async def test_case_08_killed_while_google_is_at_work(cluster: Cluster, google: Google) -> None:
    async with google.provisioner() as running:
        await google.claim("ws1")
        claim = await said(cluster, "ws1", "Provisioning")
        running.cancel()
    assert "node pool ws1: PROVISIONING" in claim.condition("Launched").message

    async with google.provisioner():
        await cluster.ready("ws1")
        late = (datetime.now(UTC) - google.kubelets.joined["ws1"]).total_seconds()
        await google.gone("ws1")

    assert late < 5.0
    assert google.server.counts["CreateNodePool"] == 1


async def test_answers_that_are_lost_make_no_second_machine_and_leave_none(
    cluster: Cluster, google: Google
) -> None:
    google.server.faults += [
        Fault(methods=("CreateNodePool",), lost="after"),
        Fault(methods=("DeleteNodePool",), lost="after"),
    ]
    async with google.provisioner():
        await google.claim("ws1")
        await cluster.ready("ws1")
        await google.gone("ws1")

    assert google.server.counts["CreateNodePool"] == 1


async def test_a_cluster_that_does_one_thing_at_a_time(cluster: Cluster, google: Google) -> None:
    google.gke.concurrency = 1
    names = [f"ws{number}" for number in range(4)]
    async with google.provisioner():
        for name in names:
            await google.claim(name)
        for name in names:
            await cluster.ready(name)
        refused = google.server.counts["CreateNodePool"] - len(names)
        await google.gone(*names)

    assert refused <= 4


async def test_a_claim_that_goes_while_its_pool_is_made(cluster: Cluster, google: Google) -> None:
    google.gke.create_seconds = 3.0
    async with google.provisioner():
        await google.claim("ws1")
        await said(cluster, "ws1", "Provisioning")
        await google.gone("ws1")

    assert google.server.counts["CreateNodePool"] == 1


async def test_a_machine_that_google_takes_back_is_drained_and_given_up(
    cluster: Cluster, google: Google
) -> None:
    async with google.provisioner():
        await google.claim("ws1")
        claim = await cluster.ready("ws1")
        taint = {"key": "cloud.google.com/impending-node-termination", "effect": "NoSchedule"}
        await cluster.client.patch(NODES, claim.status.node_name, {"spec": {"taints": [taint]}})

        async def is_gone() -> None:
            assert await cluster.claim("ws1") is None
            assert not google.gke.pools

        await eventually(is_gone, seconds=30)
