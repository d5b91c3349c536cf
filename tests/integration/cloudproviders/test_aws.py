"""The provisioner on an emulated EC2: the real boto3, the real API server, kubelets played."""

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
from cloudproviders.aws import interruption, nodegroups, tags
from kube.objects import NODES
from tests.fakes.aws import backend
from tests.fakes.aws.cluster import Kubelets
from tests.fakes.aws.emulator import Emulator
from tests.integration.gpu_provisioner.world import QUICK, Cluster, eventually

pytestmark = pytest.mark.integration

NAME = "integration"
QUEUE = "notices"
TIMINGS = replace(QUICK, instance_poll=0.2, garbage_collection=0.5, garbage_grace=0.0)
G5_OR_G6 = [
    {
        "key": "node.kubernetes.io/instance-type",
        "operator": "In",
        "values": ["g6.xlarge", "g5.xlarge"],
    }
]


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
    """A provisioner that stops waits for its poll of the queue; groups here take a second."""
    monkeypatch.setattr(interruption, "WAIT_SECONDS", 1)
    monkeypatch.setattr(nodegroups, "ENDING_SECONDS", 0.5)


class Ec2:
    """An emulated EC2 whose machines join the cluster, and processes that provision from it."""

    def __init__(self, cluster: Cluster) -> None:
        self.emulator = Emulator(group_seconds=1.0)
        self.kubelets = Kubelets(self.emulator, cluster.client)
        self._cluster = cluster

    @asynccontextmanager
    async def provisioner(self, mode: str = "ec2") -> AsyncIterator[asyncio.Task[None]]:
        client = self._cluster.new_client()
        settings = {
            "AWS_REGION": backend.REGION,
            "AWS_CLUSTER_NAME": NAME,
            "AWS_MODE": mode,
            "AWS_NODE_ROLE_ARN": f"arn:aws:iam::{backend.ACCOUNT}:role/nodes",
            "AWS_INSTANCE_PROFILE": "nodes",
            "AWS_INTERRUPTION_QUEUE": QUEUE,
            "AWS_ENDPOINT_URL": self.emulator.url,
            "AWS_ACCESS_KEY_ID": "AKIAINTEGRATION",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        cloud = cloudproviders.load("aws", settings, client)
        try:
            async with self._cluster.provisioner(cloud, timings=TIMINGS, client=client) as running:
                yield running
        finally:
            await cloud.close()

    async def claim(self, name: str, **given: Any) -> None:
        given.setdefault("instance_type", "g5.xlarge")
        await self._cluster.create_claim(
            name,
            labels={"kaito.sh/workspace": "phi"},
            taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            resources={"requests": {"storage": "128Gi", "nvidia.com/gpu": "1"}},
            **given,
        )

    async def machines(self) -> list[str]:
        """The claims of those that exist."""
        found = await self.emulator.machines()
        return [tags.as_map(each["Tags"])[tags.CLAIM_TAG] for each in found]

    async def gone(self, *names: str) -> None:
        """The claims, and whatever was made for them."""
        for name in names:
            await self._cluster.client.delete(NODE_CLAIMS, name)
        await self.empty()

    async def empty(self) -> None:
        async def is_empty() -> None:
            assert not (await self._cluster.client.list(NODE_CLAIMS)).items
            assert not (await self._cluster.client.list(NODES)).items
            assert not await self.machines()
            assert not self.emulator.groups.standing()

        await eventually(is_empty, seconds=30)


@pytest.fixture
async def ec2(cluster: Cluster) -> AsyncIterator[Ec2]:
    found = Ec2(cluster)
    async with found.emulator:
        await found.emulator.prepare(NAME)
        await found.emulator.send(QUEUE, "a queue to begin with")
        async with found.kubelets:
            yield found


async def test_case_01_a_claim_becomes_ready_and_goes_again(cluster: Cluster, ec2: Ec2) -> None:
    async with ec2.provisioner():
        await ec2.claim("ws1")
        claim = await cluster.ready("ws1")
        node = await cluster.node(claim.status.node_name)
        (machine,) = await ec2.emulator.machines()
        await ec2.gone("ws1")

    assert claim.status.provider_id.startswith("aws:///us-east-1")
    assert claim.status.image_id.startswith("ami-")
    assert claim.status.capacity["nvidia.com/gpu"] == "1"
    assert claim.metadata.labels["karpenter.sh/capacity-type"] == "on-demand"
    assert claim.metadata.labels["karpenter.k8s.aws/instance-gpu-name"] == "a10g"
    assert node is not None
    assert node.metadata.labels["kaito.sh/workspace"] == "phi"
    assert node.metadata.labels["karpenter.sh/initialized"] == "true"
    assert [taint.key for taint in node.spec.taints] == ["sku"]
    assert tags.as_map(machine["Tags"])[tags.CLAIM_UID_TAG] == claim.metadata.uid
    assert ec2.emulator.calls["CreateFleet"] == ec2.emulator.calls["TerminateInstances"] == 1


async def test_a_type_that_is_sold_out_makes_room_for_the_second(
    cluster: Cluster, ec2: Ec2
) -> None:
    ec2.emulator.refuse("InsufficientInstanceCapacity", instance_type="g6.xlarge")
    async with ec2.provisioner():
        await ec2.claim("ws1", requirements=G5_OR_G6)
        claim = await cluster.ready("ws1")
        await ec2.gone("ws1")

    assert claim.metadata.labels["node.kubernetes.io/instance-type"] == "g5.xlarge"
    assert ec2.emulator.calls["CreateFleet"] == 1


async def test_case_04_nothing_left_gives_the_claim_up_with_ec2s_words(
    cluster: Cluster, ec2: Ec2
) -> None:
    ec2.emulator.refuse("InsufficientInstanceCapacity", "We currently do not have sufficient g5")
    async with ec2.provisioner():
        await ec2.claim("ws1")
        await ec2.empty()

    (told,) = [each for each in cluster.events.told if each.reason == "InsufficientCapacityError"]
    assert "We currently do not have sufficient g5" in told.message


async def said(cluster: Cluster, name: str, reason: str) -> NodeClaim:
    """The claim, once its Launched has that reason."""

    async def is_said() -> NodeClaim:
        claim = await cluster.claim(name)
        assert claim is not None
        assert claim.condition("Launched").reason == reason, claim.status
        return claim

    return await eventually(is_said)


async def test_case_06_a_quota_stands_on_the_claim_and_is_not_asked_again(
    cluster: Cluster, ec2: Ec2
) -> None:
    words = "You have requested more vCPU capacity than your current vCPU limit of 8 allows"
    ec2.emulator.refuse("VcpuLimitExceeded", words)
    async with ec2.provisioner():
        await ec2.claim("ws1")
        claim = await said(cluster, "ws1", "QuotaExceeded")
        await asyncio.sleep(2.0)
        await ec2.gone("ws1")

    assert words in claim.condition("Launched").message
    assert "Service Quotas" in claim.condition("Launched").message
    assert ec2.emulator.calls["CreateFleet"] == 1


async def test_a_spot_notice_ends_the_claim_in_time(cluster: Cluster, ec2: Ec2) -> None:
    spot = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}
    async with ec2.provisioner():
        await ec2.claim("ws1", requirements=[*G5_OR_G6, spot])
        claim = await cluster.ready("ws1")
        await ec2.emulator.send(
            QUEUE,
            {
                "detail-type": "EC2 Spot Instance Interruption Warning",
                "source": "aws.ec2",
                "time": datetime.now(UTC).isoformat(),
                "detail": {"instance-id": claim.status.provider_id.rpartition("/")[2]},
            },
        )
        await ec2.empty()

    assert claim.metadata.labels["karpenter.sh/capacity-type"] == "spot"
    assert "SpotInterrupted" in cluster.events.reasons()
    assert ec2.emulator.calls["DeleteMessage"] == 2  # the first was no event


async def test_killed_between_the_launch_and_its_record_there_is_one_machine(
    cluster: Cluster, ec2: Ec2
) -> None:
    ec2.emulator.delay("CreateFleet", 1.0)
    async with ec2.provisioner() as process:
        await ec2.claim("ws1")

        async def launching() -> None:
            assert ec2.emulator.faults == []

        await eventually(launching)
        process.cancel()
        await asyncio.wait([process])
    async with ec2.provisioner():
        await cluster.ready("ws1")
        machines = await ec2.machines()
        await ec2.gone("ws1")

    assert machines == ["ws1"]
    assert len(ec2.emulator.launched()) == 1


async def test_a_lost_answer_is_one_machine(cluster: Cluster, ec2: Ec2) -> None:
    ec2.emulator.lose_answer("CreateFleet", times=4)  # more than the SDK tries at once
    async with ec2.provisioner():
        await ec2.claim("ws1")
        await cluster.ready("ws1")
        await ec2.gone("ws1")

    assert len(ec2.emulator.launched()) == 1


async def test_a_refused_permission_is_told_by_its_name(cluster: Cluster, ec2: Ec2) -> None:
    ec2.emulator.refuse(
        "UnauthorizedOperation",
        "You are not authorized to perform: ec2:RunInstances."
        " Encoded authorization failure message: c2VjcmV0",
    )
    async with ec2.provisioner():
        await ec2.claim("ws1")
        claim = await said(cluster, "ws1", "Unauthorized")
        await ec2.gone("ws1")

    told = claim.condition("Launched").message
    assert "ec2:RunInstances" in told
    assert "c2VjcmV0" not in told


async def test_an_instance_without_a_claim_is_collected(cluster: Cluster, ec2: Ec2) -> None:
    async with ec2.provisioner():
        await ec2.claim("ws1")
        await cluster.ready("ws1")
    await cluster.client.patch(NODE_CLAIMS, "ws1", {"metadata": {"finalizers": None}})
    await cluster.client.delete(NODE_CLAIMS, "ws1")

    async with ec2.provisioner():

        async def collected() -> None:
            assert await ec2.machines() == []

        await eventually(collected)


async def test_a_node_group_is_pending_until_its_node_joins(cluster: Cluster, ec2: Ec2) -> None:
    async with ec2.provisioner("nodegroup"):
        await ec2.claim("ws1")
        pending = await said(cluster, "ws1", "Provisioning")
        claim = await cluster.ready("ws1")  # the Node wakes it: the next look is far off
        node = await cluster.node(claim.status.node_name)
        await ec2.gone("ws1")

    assert "node group ws1-" in pending.condition("Launched").message
    assert claim.status.provider_id.startswith("aws:///us-east-1")
    assert claim.metadata.labels["topology.kubernetes.io/zone"].startswith("us-east-1")
    assert node is not None
    assert [taint.key for taint in node.spec.taints] == ["sku"]
    assert ec2.emulator.calls["CreateNodegroup"] == ec2.emulator.calls["DeleteNodegroup"] == 1
