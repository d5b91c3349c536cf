"""Notices of the cloud: cordon, drain in the time there is, replace; and who reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CloudUnavailableError
from cloudproviders.provider import Interruption
from gpu_provisioner import metrics
from gpu_provisioner.node.interruption import InterruptionHandling, Notices
from gpu_provisioner.node.notices import NoticeReader
from kube.errors import ServerError
from kube.meta import Key
from kube.objects import NODES, Node
from tests.fakes.clock import settle
from tests.fakes.cloud import FakeCloud
from tests.fakes.notices import NoticeQueue
from tests.unit.gpu_provisioner.conftest import World

STAMP = "karpenter.sh/nodeclaim-termination-timestamp"


class Announcing(FakeCloud):
    """Gives notice by a queue, and of spot preemption by a condition of the Node."""

    def __init__(self, world: World) -> None:
        super().__init__(world.clock)
        self.queue = NoticeQueue()

    def interruptions(self) -> AsyncIterator[Interruption]:
        return self.queue.stream()

    def interrupted(self, node: Node, now: datetime, /) -> Interruption | None:
        for condition in node.status.conditions:
            if condition.type == "PreemptionScheduled" and condition.status == "True":
                since = condition.last_transition_time or now
                return Interruption(
                    kind="spot_interrupted",
                    provider_id=node.spec.provider_id,
                    message=condition.message,
                    deadline=since + timedelta(seconds=30),
                )
        return None


class Desk:
    """The reader, and what it hands on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cloud = Announcing(world)
        world.cloud = self.cloud
        self.notices = Notices(self.cloud, world.shared.managed, world.stores, world.clock)
        self.handling = InterruptionHandling(world.shared, world.stores, self.notices)
        self.woken: list[str] = []
        self.reader = NoticeReader(self.cloud, self.notices, self._wake, world.clock)

    def _wake(self, keys: Iterable[Key]) -> None:
        self.woken += [key.name for key in keys]

    async def comes(self, kind: str, *, advisory: bool = False, within: float = 0) -> None:
        """A notice about the machine of ws1, read and carried out."""
        deadline = self.world.now() + timedelta(seconds=within) if within else None
        provider_id = self.world.claim().status.provider_id
        self.cloud.queue.announce(kind, provider_id, deadline=deadline, advisory=advisory)
        await self.read()
        await self.carry_out()

    async def carry_out(self) -> None:
        await self.handling.reconcile(self.world.claim())

    async def read(self) -> None:
        reading = asyncio.create_task(self.reader.run())
        await settle()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def cordoned(world: World) -> bool:
    return "karpenter.sh/disrupted=:NoSchedule" in [str(t) for t in world.node().spec.taints]


def disrupted(kind: str) -> float:
    return metrics.CLAIMS_DISRUPTED.labels(kind, "", "on-demand", "", "forceful")._value.get()  # type: ignore[no-any-return]


async def test_a_spot_machine_that_is_taken_back_is_emptied_in_the_time_there_is(
    world: World, desk: Desk
) -> None:
    await world.add_ready(terminationGracePeriod="2h")
    before = disrupted("spot_interrupted")

    await desk.comes("spot_interrupted", within=120)

    assert desk.woken == ["ws1"]
    assert cordoned(world)
    assert world.claim().deleting
    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:02:00Z"
    assert desk.cloud.queue.acknowledged == ["spot_interrupted"]
    assert disrupted("spot_interrupted") == before + 1
    told = {(each.kind, each.reason): each.message for each in world.events.told}
    assert told["NodeClaim", "SpotInterrupted"] == "notice of spot_interrupted"
    assert "by 2026-01-01T00:02:00Z" in told["Node", "TerminatingOnInterruption"]
    await world.reconcile()
    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:02:00Z"
    assert world.node().metadata.deletion_timestamp is not None


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("spot_interrupted", "SpotInterrupted"),
        ("scheduled_change", "InstanceUnhealthy"),
        ("instance_stopped", "InstanceStopping"),
        ("instance_terminated", "InstanceTerminating"),
        ("capacity_reservation_interrupted", "CapacityReservationInstanceInterrupted"),
        ("instance_status", "InstanceUnhealthy"),
        ("system_status", "InstanceUnhealthy"),
        ("maintenance_of_the_future", "TerminatingOnInterruption"),
    ],
)
async def test_each_kind_says_what_it_is(world: World, desk: Desk, kind: str, event: str) -> None:
    await world.add_ready()

    await desk.comes(kind)

    assert world.claim().deleting
    assert STAMP not in world.claim().metadata.annotations
    assert {event, "TerminatingOnInterruption"} <= set(world.events.reasons())


async def test_advice_is_told_and_nothing_done(world: World, desk: Desk) -> None:
    await world.add_ready()
    written = world.kube.writes

    for _ in range(2):
        await desk.comes("rebalance_recommendation", advisory=True)
        await desk.comes("scheduled_change", advisory=True)

    assert world.kube.writes == written
    reasons = world.events.reasons()
    for reason in ("SpotRebalanceRecommendation", "InstanceUnhealthy"):
        assert reasons.count(reason) == 2  # once each, on claim and Node
    assert len(desk.cloud.queue.acknowledged) == 4


async def test_the_same_said_twice_is_done_once(world: World, desk: Desk) -> None:
    await world.add_ready()
    before = disrupted("spot_interrupted")
    await desk.comes("spot_interrupted", within=120)
    written, told = world.kube.writes, len(world.events.told)

    await desk.comes("spot_interrupted", within=120)

    assert world.kube.writes == written
    assert len(world.events.told) == told
    assert disrupted("spot_interrupted") == before + 1
    assert len(desk.cloud.queue.acknowledged) == 2


async def test_a_claim_that_is_ending_anyway_has_to_hurry(world: World, desk: Desk) -> None:
    await world.add_ready()
    await world.kube.delete(NODE_CLAIMS, "ws1")

    await desk.comes("spot_interrupted", within=120)

    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:02:00Z"


async def test_an_earlier_deadline_stays(world: World, desk: Desk) -> None:
    await world.add_ready()
    sooner = {"metadata": {"annotations": {STAMP: "2026-01-01T00:01:00Z"}}}
    world.kube.change(NODE_CLAIMS, "ws1", sooner)

    await desk.comes("spot_interrupted", within=120)

    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:01:00Z"


async def test_nobody_gets_longer_than_the_grace_period_of_the_claim(
    world: World, desk: Desk
) -> None:
    await world.add_ready(terminationGracePeriod="30s")

    await desk.comes("spot_interrupted", within=120)

    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:00:30Z"


async def test_the_time_that_a_notice_took_is_measured(world: World, desk: Desk) -> None:
    await world.add_ready()
    sent = world.now()
    world.clock.advance(7)
    before = metrics.INTERRUPTION_SECONDS._sum.get()
    provider_id = world.claim().status.provider_id
    desk.cloud.queue.announce("spot_interrupted", provider_id, sent=sent)

    await desk.read()
    await desk.carry_out()

    assert metrics.INTERRUPTION_SECONDS._sum.get() == before + 7


async def test_a_claim_of_somebody_else_is_left_to_him(world: World, desk: Desk) -> None:
    await world.add_ready()
    theirs = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"}
    provider_id = world.claim().status.provider_id
    world.kube.vanish(NODE_CLAIMS, "ws1")
    world.add_claim("ws2", node_class_ref=theirs)
    world.kube.change(NODE_CLAIMS, "ws2", {"status": {"providerID": provider_id}})
    desk.cloud.queue.announce("spot_interrupted", provider_id)

    await desk.read()

    assert desk.woken == []
    assert desk.cloud.queue.acknowledged == ["spot_interrupted"]


async def test_machines_of_others_are_none_of_our_business(world: World, desk: Desk) -> None:
    await world.add_ready()
    desk.cloud.queue.announce("spot_interrupted", "aws:///somebody-else")

    await desk.read()

    assert desk.woken == []
    assert desk.cloud.queue.acknowledged == ["spot_interrupted"]
    assert not world.claim().deleting


@pytest.mark.parametrize("verb", ["patch", "get", "delete"])
async def test_a_notice_is_acknowledged_only_once_all_is_written(
    world: World, desk: Desk, verb: str
) -> None:
    await world.add_ready()
    world.kube.refuse_next(verb, ServerError(500, "InternalError", "etcd is away"))

    with pytest.raises(ServerError):
        await desk.comes("spot_interrupted", within=120)
    assert desk.cloud.queue.acknowledged == []
    await desk.carry_out()

    assert desk.cloud.queue.acknowledged == ["spot_interrupted"]
    assert cordoned(world)
    assert world.claim().deleting
    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:02:00Z"


async def test_a_notice_may_stand_on_the_node_itself(world: World, desk: Desk) -> None:
    await world.add_ready()
    assert list(desk.notices.claims_of(world.node())) == []
    since = world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    preempted = {"type": "PreemptionScheduled", "status": "True", "lastTransitionTime": since}
    world.kube.change(NODES, "ws1", {"status": {"conditions": [preempted]}})

    assert [key.name for key in desk.notices.claims_of(world.node())] == ["ws1"]
    await desk.carry_out()

    assert world.claim().deleting
    assert world.claim().metadata.annotations[STAMP] == "2026-01-01T00:00:30Z"


class TestReader:
    async def test_it_comes_back_after_the_cloud_was_away(self, world: World, desk: Desk) -> None:
        await world.add_ready()
        queue = desk.cloud.queue
        reading = asyncio.create_task(desk.reader.run())
        queue.breaks(CloudUnavailableError("throttled"))
        await settle()
        assert queue.closed == 1
        queue.breaks(KeyError("a provider's mistake"))
        await world.clock.pass_(3)
        queue.announce("spot_interrupted", world.claim().status.provider_id)
        await world.clock.pass_(5)

        assert desk.woken == ["ws1"]
        assert queue.opened == 3
        desk.reader.stop()
        await reading
        assert queue.closed == 3

    async def test_it_pauses_longer_with_each_failure(self, world: World, desk: Desk) -> None:
        queue = desk.cloud.queue
        reading = asyncio.create_task(desk.reader.run())
        waited = []
        for _ in range(9):
            queue.breaks(CloudUnavailableError("throttled"))
            await settle()
            (wait,) = world.clock.waiting()
            waited.append(wait)
            world.clock.advance(wait)
            await settle()

        assert waited[0] <= 2.0
        assert 30.0 <= waited[-1] <= 60.0
        desk.reader.stop()
        await reading

    async def test_a_cloud_that_never_says_anything_is_not_asked_twice(self, world: World) -> None:
        notices = Notices(world.cloud, world.shared.managed, world.stores, world.clock)
        reader = NoticeReader(world.cloud, notices, lambda keys: None, world.clock)
        reading = asyncio.create_task(reader.run())
        await world.clock.pass_(300, step=60)

        assert not reading.done()
        assert world.clock.waiting() == []
        reader.stop()
        await reading

    async def test_who_is_cancelled_closes_the_stream_and_may_run_again(
        self, world: World, desk: Desk
    ) -> None:
        await world.add_ready()

        await desk.read()
        await desk.comes("spot_interrupted")

        assert desk.cloud.queue.closed == desk.cloud.queue.opened == 2
        assert world.claim().deleting
