"""The gate before the cluster, and the looks that everybody shares."""

from __future__ import annotations

import asyncio

import pytest

from cloudproviders.azure import looks
from cloudproviders.azure.agentpools import AgentPool
from cloudproviders.azure.errors import BusyError, QueuedError
from cloudproviders.azure.operations import FORGET_SECONDS, Operations
from cloudproviders.azure.pools import NEVER, Pools, Snapshot
from cloudproviders.errors import CloudUnavailableError
from tests.fakes.clock import FakeClock, settle


def pool(name: str, state: str = "Succeeded") -> AgentPool:
    return AgentPool(name=name, state=state)


class Gate:
    """Calls that are answered when the test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.operations = Operations(self.clock)
        self.asked: dict[str, asyncio.Future[None]] = {}

    def call(self, name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._call(name))

    async def _call(self, name: str) -> None:
        async with self.operations.turn(name):
            self.asked[name] = asyncio.get_running_loop().create_future()
            await self.asked[name]

    async def accepted(self, name: str) -> None:
        task = self.call(name)
        await settle()
        self.asked[name].set_result(None)
        await task

    async def refused(self, name: str, wait: float | None = None) -> None:
        task = self.call(name)
        await settle()
        self.asked[name].set_exception(QueuedError("in progress", wait))
        with pytest.raises(QueuedError):
            await task

    async def queued(self, name: str) -> QueuedError:
        with pytest.raises(QueuedError) as told:
            async with self.operations.turn(name):
                raise AssertionError("let in")
        return told.value


async def test_calls_go_out_twice_as_many_after_each_answer() -> None:
    gate = Gate()
    tasks = [gate.call(f"p{number}") for number in range(7)]
    out = []
    for _ in range(3):
        await settle()
        waiting = [name for name, answer in gate.asked.items() if not answer.done()]
        out.append(len(waiting))
        for name in waiting:
            gate.asked[name].set_result(None)

    await asyncio.gather(*tasks)
    assert out == [1, 2, 4]


async def test_after_a_rest_calls_go_out_one_by_one_again() -> None:
    gate = Gate()
    for number in range(10):
        await gate.accepted(f"p{number}")
    gate.asked.clear()
    gate.clock.advance(11.0)

    tasks = [gate.call(f"q{number}") for number in range(5)]
    await settle()

    assert list(gate.asked) == ["q0"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_refusal_closes_the_gate_to_what_runs() -> None:
    gate = Gate()
    await gate.accepted("p0")
    await gate.refused("p1")

    first, second = await gate.queued("p1"), await gate.queued("p2")

    assert "p1 is number 1" in str(first)
    assert "p2 is number 2" in str(second)
    assert first.wait is not None
    assert second.wait is not None
    assert first.wait < second.wait


async def test_the_next_goes_when_what_ran_has_ended() -> None:
    gate = Gate()
    await gate.accepted("p0")
    await gate.refused("p1")
    await gate.queued("p2")
    gate.clock.advance(20.0)
    gate.operations.seen({"p0": pool("p0")}, gate.clock.monotonic())

    gate.asked.clear()
    await gate.accepted("p1")  # who has been refused is the first
    assert "number 1" in str(await gate.queued("p2"))


async def test_a_place_is_lost_by_who_does_not_come_again() -> None:
    gate = Gate()
    await gate.accepted("p0")
    await gate.refused("p1")
    await gate.queued("p2")
    gate.clock.advance(61.0)

    assert "p2 is number 1" in str(await gate.queued("p2"))


async def test_looks_for_others_are_few() -> None:
    gate = Gate()
    assert gate.operations.worth_a_look() == NEVER
    await gate.accepted("p0")
    await gate.refused("p1")

    due = []
    for _ in range(40):
        gate.clock.advance(1.0)
        due.append(gate.operations.worth_a_look())

    assert sorted(set(due)) == [NEVER, 10.0, 20.0, 30.0, 40.0]


async def test_a_node_that_has_joined_is_worth_a_look() -> None:
    gate = Gate()
    await gate.accepted("p0")
    await gate.refused("p1")
    gate.clock.advance(4.0)
    gate.operations.joined("p0")
    gate.clock.advance(1.0)

    assert gate.operations.worth_a_look() == 5.0


async def test_the_wait_that_the_cloud_asks_for_is_kept() -> None:
    gate = Gate()
    await gate.refused("p1", wait=25.0)

    assert (await gate.queued("p1")).wait == 25.0


async def test_refusals_for_what_is_not_ours_space_out() -> None:
    gate = Gate()
    waits = []
    for _ in range(5):
        await gate.refused("p1")
        told = await gate.queued("p1")
        waits.append(told.wait)
        gate.clock.advance(told.wait or 0.0)

    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0]


async def test_the_gate_opens_again_in_time() -> None:
    gate = Gate()
    await gate.accepted("p0")
    await gate.refused("p1")
    gate.clock.advance(FORGET_SECONDS + 1)

    await gate.accepted("p1")
    await gate.accepted("p2")


async def test_throttling_is_no_reason_to_queue() -> None:
    gate = Gate()
    task = gate.call("p0")
    await settle()
    gate.asked["p0"].set_exception(BusyError("429", 1.0))
    with pytest.raises(BusyError):
        await task

    await gate.accepted("p1")


class Reads:
    """A list that takes as long as the test likes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.count = 0
        self.answer: list[AgentPool] = [pool("a")]
        self.failure: Exception | None = None
        self.pools = Pools(self._read, self.clock, self._seen)
        self.go = asyncio.Event()
        self.go.set()

    async def _read(self) -> list[AgentPool]:
        self.count += 1
        answer = list(self.answer)
        await self.go.wait()
        if self.failure:
            raise self.failure
        return answer

    def _seen(self, pools: Snapshot, since: float) -> None:
        """Nobody."""


async def test_all_who_ask_share_one_read() -> None:
    reads = Reads()

    await asyncio.gather(*(reads.pools.since(0.0) for _ in range(200)))

    assert reads.count == 1


async def test_who_needs_younger_news_reads_again() -> None:
    reads = Reads()
    await reads.pools.since(0.0)
    reads.clock.advance(10.0)

    await reads.pools.since(-5.0)
    assert reads.count == 1
    await reads.pools.since(5.0)
    assert reads.count == 2


async def test_what_was_written_during_a_read_is_not_lost() -> None:
    reads = Reads()
    reads.go.clear()
    reading = asyncio.create_task(reads.pools.since(0.0))
    await settle()
    reads.pools.write(pool("b", "Creating"))
    reads.go.set()

    assert set(await reading) == {"a", "b"}
    reads.clock.advance(1.0)
    assert set(await reads.pools.since(1.0)) == {"a"}, "by then the list should have had it"


async def test_who_stops_waiting_does_not_stop_the_others() -> None:
    reads = Reads()
    reads.go.clear()
    gone, waiting = (asyncio.create_task(reads.pools.since(0.0)) for _ in range(2))
    await settle()
    gone.cancel()
    await settle()
    reads.go.set()

    assert set(await waiting) == {"a"}
    assert reads.count == 1


async def test_a_failed_read_is_told_to_all_and_tried_again() -> None:
    reads = Reads()
    reads.failure = CloudUnavailableError("away")

    results = await asyncio.gather(
        *(reads.pools.since(0.0) for _ in range(3)), return_exceptions=True
    )

    assert all(isinstance(each, CloudUnavailableError) for each in results)
    reads.failure = None
    assert set(await reads.pools.since(0.0)) == {"a"}


async def test_doubt_makes_the_next_one_look() -> None:
    reads = Reads()
    await reads.pools.since(0.0)
    reads.pools.doubt()

    await reads.pools.since(NEVER)

    assert reads.count == 2


@pytest.mark.parametrize(
    ("age", "last", "following"),
    [(0, 0, 30), (29, 0, 30), (30, 30, 120), (119, 30, 120), (240, 240, 360), (500, 480, 600)],
)
def test_looks_grow_rarer(age: float, last: float, following: float) -> None:
    assert looks.last_due(age, looks.CREATE_LOOKS) == last
    assert looks.next_due(age, looks.CREATE_LOOKS) == following
