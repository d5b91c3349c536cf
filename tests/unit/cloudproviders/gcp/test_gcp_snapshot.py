"""One list for everybody, and what we know better than it."""

from __future__ import annotations

import asyncio

import pytest

from cloudproviders.gcp.snapshot import Snapshot
from tests.fakes.clock import FakeClock, settle


class Cloud:
    """What a read finds, and when it comes back."""

    def __init__(self) -> None:
        self.things: dict[str, str] = {}
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def read(self) -> dict[str, str]:
        self.reads += 1
        seen = dict(self.things)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return seen


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


async def test_many_who_ask_at_once_cost_one_read(clock: FakeClock, cloud: Cloud) -> None:
    snapshot = Snapshot(cloud.read, clock)
    cloud.things = {"a": "1"}

    found = await asyncio.gather(*(snapshot.all(5.0) for _ in range(20)))

    assert cloud.reads == 1
    assert all(each == {"a": "1"} for each in found)


async def test_it_is_read_again_when_it_is_too_old(clock: FakeClock, cloud: Cloud) -> None:
    snapshot = Snapshot(cloud.read, clock)
    await snapshot.all(5.0)
    clock.advance(5)
    await snapshot.all(5.0)
    assert cloud.reads == 1
    clock.advance(1)
    await snapshot.all(5.0)

    assert cloud.reads == 2


async def test_what_we_made_is_there_until_a_later_read_tells(
    clock: FakeClock, cloud: Cloud
) -> None:
    snapshot = Snapshot(cloud.read, clock)
    await snapshot.all(5.0)
    snapshot.note("a", "ours")

    assert await snapshot.all(5.0) == {"a": "ours"}
    clock.advance(6)
    assert await snapshot.all(5.0) == {}


async def test_a_read_that_began_before_does_not_undo_what_we_made(
    clock: FakeClock, cloud: Cloud
) -> None:
    snapshot = Snapshot(cloud.read, clock)
    cloud.gate.clear()
    reading = asyncio.create_task(snapshot.all(5.0))
    await settle()
    snapshot.note("a", "ours")
    cloud.gate.set()

    assert await reading == {"a": "ours"}
    snapshot.drop("a")
    assert await snapshot.all(5.0) == {}


async def test_after_a_lost_answer_nothing_is_decided_from_an_old_list(
    clock: FakeClock, cloud: Cloud
) -> None:
    snapshot = Snapshot(cloud.read, clock)
    await snapshot.all(5.0)
    cloud.gate.clear()
    old = asyncio.create_task(snapshot.all(-1.0))
    await settle()
    cloud.things = {"a": "made after all"}
    snapshot.distrust()
    new = asyncio.create_task(snapshot.all(5.0))
    await settle()
    cloud.gate.set()

    assert await new == {"a": "made after all"}
    assert cloud.reads == 3
    await old


async def test_a_read_that_comes_back_late_does_not_undo_a_later_one(clock: FakeClock) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    reads = 0

    async def read() -> dict[str, str]:
        nonlocal reads
        reads += 1
        number = reads
        await gates[number - 1].wait()
        return {"a": f"read {number}"}

    snapshot = Snapshot(read, clock)
    first = asyncio.create_task(snapshot.all(5.0))
    await settle()
    snapshot.distrust()
    second = asyncio.create_task(snapshot.all(5.0))
    await settle()
    gates[1].set()
    assert await second == {"a": "read 2"}
    gates[0].set()
    await first

    assert snapshot.known() == {"a": "read 2"}


async def test_a_failed_read_is_everybodys_and_is_tried_again(
    clock: FakeClock, cloud: Cloud
) -> None:
    snapshot = Snapshot(cloud.read, clock)
    cloud.failure = ConnectionError("away")
    found = await asyncio.gather(snapshot.all(5.0), snapshot.all(5.0), return_exceptions=True)
    assert [type(each) for each in found] == [ConnectionError, ConnectionError]

    cloud.failure = None
    assert await snapshot.all(5.0) == {}
    assert cloud.reads == 2


async def test_who_gives_up_waiting_does_not_end_the_read_of_others(
    clock: FakeClock, cloud: Cloud
) -> None:
    snapshot = Snapshot(cloud.read, clock)
    cloud.gate.clear()
    first = asyncio.create_task(snapshot.all(5.0))
    second = asyncio.create_task(snapshot.all(5.0))
    await settle()
    first.cancel()
    await settle()
    cloud.gate.set()

    assert await second == {}


async def test_closing_ends_what_is_under_way(clock: FakeClock, cloud: Cloud) -> None:
    snapshot = Snapshot(cloud.read, clock)
    cloud.gate.clear()
    reading = asyncio.create_task(snapshot.all(5.0))
    await settle()

    await snapshot.close()

    with pytest.raises(asyncio.CancelledError):
        await reading
