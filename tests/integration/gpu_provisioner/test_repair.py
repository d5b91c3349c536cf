"""Nodes that stay sick are replaced, against the real API server: case 59."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cloudproviders.provider import RepairPolicy
from kube.client import Client
from kube.objects import NODES
from tests.integration.gpu_provisioner import ending
from tests.integration.gpu_provisioner.world import QUICK, BootingCloud, Cluster, eventually

POOL = "karpenter.sh/nodepool"


class PatientCloud(BootingCloud):
    """Has nodes repaired that are not Ready for three seconds, or see errors of a GPU at all."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.repair_policies = (
            RepairPolicy("Ready", "False", timedelta(seconds=3)),
            RepairPolicy("Ready", "Unknown", timedelta(hours=1)),
            RepairPolicy("XIDErrors", "True", timedelta(0)),
        )


async def falls_ill(
    cluster: Cluster, name: str, kind: str = "Ready", status: str = "False"
) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": kind, "status": status, "reason": "Test", "lastTransitionTime": now}
    await cluster.client.patch(
        NODES, name, {"status": {"conditions": [condition]}}, subresource="status"
    )


async def ready(cluster: Cluster, names: list[str], pool: str) -> None:
    for name in names:
        await cluster.create_claim(name, labels={POOL: pool} if pool else {})
    for name in names:
        await cluster.ready(name)


async def is_kept(cluster: Cluster, *names: str) -> None:
    for name in names:
        claim = await cluster.claim(name)
        assert claim is not None
        assert not claim.deleting, name


async def test_case_59_a_sick_node_goes_after_its_time_whatever_holds_its_pods(
    cluster: Cluster,
) -> None:
    cloud = PatientCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", terminationGracePeriod="1h")
        await cluster.ready("ws1")
        await cluster.create_budget("serving", {"app": "vllm"})
        held = {"labels": {"app": "vllm"}, **ending.HOLDS["metadata"]}
        await cluster.create_pod("p", "ws1", metadata=held)
        fell = datetime.now(UTC).replace(microsecond=0)
        await falls_ill(cluster, "ws1")
        await asyncio.sleep(0.5)
        await is_kept(cluster, "ws1")
        message = await ending.told(cluster, "NodeUnhealthy")
        acted = datetime.now(UTC)
        await ending.is_leaving(cluster, "p")
        await ending.kill(cluster, "p")
        await cluster.gone("ws1")

    assert acted >= fell + timedelta(seconds=3)
    assert "Ready=False since" in message
    assert cloud.instances == {}


async def test_case_59_the_deadline_is_now(cluster: Cluster) -> None:
    cloud = PatientCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", terminationGracePeriod="1h")
        await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1", spec={"terminationGracePeriodSeconds": 600})
        await falls_ill(cluster, "ws1", "XIDErrors", "True")
        await ending.is_leaving(cluster, "p")
        claim = await cluster.claim("ws1")
        assert claim is not None
        assert claim.metadata.deletion_timestamp is not None
        stamp = datetime.fromisoformat(claim.metadata.annotations[ending.STAMP])
        assert abs(stamp - claim.metadata.deletion_timestamp) <= timedelta(seconds=1)
        await ending.kill(cluster, "p")
        await cluster.gone("ws1")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        pytest.param("DiskPressure", "True", id="another type"),
        pytest.param("XIDErrors", "False", id="another status"),
        pytest.param("Ready", "Unknown", id="not long enough"),
    ],
)
async def test_case_59_what_no_policy_speaks_of_is_no_reason(
    cluster: Cluster, kind: str, status: str
) -> None:
    cloud = PatientCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await ready(cluster, ["ws1"], "kaito")
        await falls_ill(cluster, "ws1", kind, status)
        await asyncio.sleep(ending.A_WHILE)
        await is_kept(cluster, "ws1")


@pytest.mark.parametrize(
    "pool", [pytest.param("kaito", id="of the pool"), pytest.param("", id="of the cluster")]
)
async def test_case_59_more_than_a_fifth_at_once_is_no_illness_of_the_nodes(
    cluster: Cluster, pool: str
) -> None:
    cloud = PatientCloud(cluster.client)
    names = [f"ws{number}" for number in range(6)]
    sick = names[:3]
    async with cluster.provisioner(cloud, timings=replace(QUICK, repair_blocked=0.2)):
        await ready(cluster, names, pool)
        for name in sick:
            await falls_ill(cluster, name)
        message = await ending.told(cluster, "NodeRepairBlocked")
        await asyncio.sleep(ending.A_WHILE)
        await is_kept(cluster, *names)
        assert "3 of the 6 nodes" in message

        # Two of six are a fifth, rounded up: once one is well the brake is let go.
        await falls_ill(cluster, sick[0], "Ready", "True")
        await cluster.gone(sick[1])
        await cluster.gone(sick[2])
        await is_kept(cluster, sick[0], *names[3:])
        await ending.nothing_is_leaked(cluster, cloud)


async def test_case_59_the_only_node_of_a_pool_may_be_replaced(cluster: Cluster) -> None:
    cloud = PatientCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await ready(cluster, ["ws1"], "kaito")
        await falls_ill(cluster, "ws1", "XIDErrors", "True")
        await cluster.gone("ws1")


async def test_a_gpu_that_is_lost_after_the_node_was_ready_is_a_reason(cluster: Cluster) -> None:
    cloud = PatientCloud(cluster.client)
    async with cluster.provisioner(cloud, timings=replace(QUICK, gpu_toleration=1.0)):
        await cluster.create_claim("ws1", resources={"requests": {"nvidia.com/gpu": "1"}})

        async def joined() -> None:
            assert await cluster.node("ws1") is not None

        await eventually(joined)
        await offer(cluster, "1")
        await cluster.ready("ws1")
        await asyncio.sleep(1.2)
        await is_kept(cluster, "ws1")

        await offer(cluster, "0")
        message = await ending.told(cluster, "NodeUnhealthy")
        await cluster.gone("ws1")

    assert "0 of 1 nvidia.com/gpu are left" in message
    assert cloud.instances == {}


async def offer(cluster: Cluster, gpus: str) -> None:
    """The device plugin's part: a device that falls ill is no longer allocatable."""
    shown = {"capacity": {"nvidia.com/gpu": "1"}, "allocatable": {"nvidia.com/gpu": gpus}}
    await cluster.client.patch(NODES, "ws1", {"status": shown}, subresource="status")


async def test_repair_can_be_switched_off(cluster: Cluster) -> None:
    cloud = PatientCloud(cluster.client)
    async with cluster.provisioner(cloud, repair=False):
        await ready(cluster, ["ws1"], "kaito")
        await falls_ill(cluster, "ws1", "XIDErrors", "True")
        await asyncio.sleep(ending.A_WHILE)
        await is_kept(cluster, "ws1")
