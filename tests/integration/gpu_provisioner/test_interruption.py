"""Machines that the cloud takes back, against the real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.errors import CloudUnavailableError
from cloudproviders.provider import Interruption
from kube.client import Client
from kube.objects import NODES, Node
from tests.fakes.notices import NoticeQueue
from tests.integration.gpu_provisioner import ending
from tests.integration.gpu_provisioner.test_crashes import run_until_death
from tests.integration.gpu_provisioner.world import BootingCloud, Cluster, eventually


class Announcing(BootingCloud):
    """Gives notice by a queue, or by a condition of the Node."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.queue = NoticeQueue()

    def interruptions(self) -> AsyncIterator[Interruption]:
        return self.queue.stream()

    def interrupted(self, node: Node, now: datetime, /) -> Interruption | None:
        for condition in node.status.conditions:
            if condition.type == "PreemptionScheduled" and condition.status == "True":
                return Interruption(
                    kind="spot_interrupted",
                    provider_id=node.spec.provider_id,
                    message=condition.message,
                    deadline=(condition.last_transition_time or now) + timedelta(seconds=5),
                )
        return None


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def acknowledged(cloud: Announcing, times: int = 1) -> None:
    async def check() -> None:
        assert len(cloud.queue.acknowledged) == times

    await eventually(check)


async def test_a_spot_machine_is_emptied_in_the_time_that_is_left(cluster: Cluster) -> None:
    """A pod that ends in time is asked and given its own grace; one that a budget holds is
    asked until its grace would outlast the machine."""
    cloud = Announcing(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")
        await cluster.create_budget("serving", {"app": "vllm"})
        await cluster.create_pod("free", "ws1")
        held = {"labels": {"app": "vllm"}}
        await cluster.create_pod(
            "held", "ws1", metadata=held, spec={"terminationGracePeriodSeconds": 2}
        )
        deadline = soon(9)
        cloud.queue.announce("spot_interrupted", claim.status.provider_id, deadline=deadline)

        await ending.is_gone(cluster, "free")
        assert not await ending.leaving(cluster, "held")
        node = await ending.node_ends(cluster)
        assert "karpenter.sh/disrupted=:NoSchedule" in [str(each) for each in node.spec.taints]
        await ending.is_leaving(cluster, "held")
        assert soon(0) >= deadline - timedelta(seconds=3)
        await ending.kill(cluster, "held")
        await cluster.gone("ws1")

    assert cloud.queue.acknowledged == ["spot_interrupted"]
    assert {"SpotInterrupted", "TerminatingOnInterruption"} <= set(cluster.events.reasons())
    assert cloud.instances == {}


async def test_advice_is_told_and_nothing_done(cluster: Cluster) -> None:
    cloud = Announcing(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")
        provider_id = claim.status.provider_id
        cloud.queue.announce("rebalance_recommendation", provider_id, advisory=True)
        await acknowledged(cloud)
        await asyncio.sleep(ending.A_WHILE)

        kept = await cluster.claim("ws1")
        assert kept is not None
        assert not kept.deleting
    assert "SpotRebalanceRecommendation" in cluster.events.reasons()


async def test_many_are_taken_back_at_once_and_each_is_ended_once(cluster: Cluster) -> None:
    cloud = Announcing(cluster.client)
    names = [f"ws{number}" for number in range(20)]
    async with cluster.provisioner(cloud):
        for name in names:
            await cluster.create_claim(name)
        for name in names:
            claim = await cluster.ready(name)
            for _ in range(2):
                cloud.queue.announce("instance_terminated", claim.status.provider_id)
        cloud.queue.announce("instance_terminated", "fake:///somebody-elses")
        for name in names:
            await cluster.gone(name)
        await ending.nothing_is_leaked(cluster, cloud)

    ended = [
        each.name
        for each in cluster.events.told
        if each.reason == "TerminatingOnInterruption" and each.kind == "NodeClaim"
    ]
    assert sorted(ended) == sorted(names)
    assert len(cloud.queue.acknowledged) >= 21


async def test_a_notice_on_the_node_itself_is_heeded(cluster: Cluster) -> None:
    cloud = Announcing(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1", **ending.HOLDS)
        condition = {
            "type": "PreemptionScheduled",
            "status": "True",
            "message": "a Preempt is scheduled",
            "lastTransitionTime": soon(0).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        await cluster.client.patch(
            NODES, "ws1", {"status": {"conditions": [condition]}}, subresource="status"
        )
        assert await ending.told(cluster, "SpotInterrupted") == "a Preempt is scheduled"
        await ending.is_leaving(cluster, "p")
        await ending.kill(cluster, "p")
        await cluster.gone("ws1")

    assert cloud.instances == {}


async def test_a_queue_that_breaks_is_opened_again(cluster: Cluster) -> None:
    cloud = Announcing(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")
        cloud.queue.breaks(CloudUnavailableError("throttled"))
        cloud.queue.announce("instance_stopped", claim.status.provider_id)
        await cluster.gone("ws1")

    assert cloud.queue.opened == cloud.queue.closed == 2


@pytest.mark.parametrize(
    "killed", [pytest.param(True, id="killed"), pytest.param(False, id="stopped")]
)
async def test_whoever_leads_next_reads_on(cluster: Cluster, killed: bool) -> None:
    cloud = Announcing(cluster.client)
    async with cluster.provisioner(cloud) as process:
        await cluster.create_claim("ws1")
        claim = await cluster.ready("ws1")
        if killed:
            process.cancel()
    assert cloud.queue.closed == cloud.queue.opened == 1
    cloud.queue.announce("scheduled_change", claim.status.provider_id)

    async with cluster.provisioner(cloud):
        await cluster.gone("ws1")

    assert cloud.queue.acknowledged == ["scheduled_change"]


async def test_a_notice_whose_reader_dies_at_any_write_is_carried_out_by_the_next(
    cluster: Cluster,
) -> None:
    """What was not acknowledged is given again; what was, had been done."""
    for dies_at in range(1, 30):
        cloud = Announcing(cluster.client)
        name = f"ws{dies_at}"
        await cluster.create_claim(name)
        async with cluster.provisioner(cloud):
            claim = await cluster.ready(name)
        await cluster.create_pod("p", name)

        def announce(cloud: Announcing = cloud, claim: NodeClaim = claim) -> None:
            cloud.queue.announce("spot_interrupted", claim.status.provider_id, deadline=soon(3600))

        announce()
        died = await run_until_death(
            cluster,
            cloud,
            lambda name=name: cluster.gone(name),  # type: ignore[misc]
            dies_at=dies_at,
            unanswered=dies_at % 2 == 0,
        )
        if not cloud.queue.acknowledged:
            announce()
        async with cluster.provisioner(cloud):
            await cluster.gone(name)
            await acknowledged(cloud)

        assert cloud.instances == {}
        if not died:
            assert dies_at > 5
            return
    raise AssertionError("more than 30 writes for the end of a claim")
