import asyncio
from datetime import UTC, timedelta

import pytest

from kube.clock import Clock, ServerClock
from tests.fakes.clock import FakeClock, settle


async def test_the_real_clock_is_utc_and_wakes() -> None:
    clock = Clock()
    assert clock.now().tzinfo is UTC
    before = clock.monotonic()
    await clock.sleep(0.005)
    await clock.sleep(0)
    assert clock.monotonic() - before >= 0.004


async def test_a_cancelled_sleeper_leaves_no_timer() -> None:
    clock = FakeClock()
    sleeper = asyncio.create_task(clock.sleep(5))
    await settle()
    assert clock.waiting() == [5]
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeper
    assert clock.waiting() == []


async def test_the_fake_clock_wakes_in_order() -> None:
    clock = FakeClock()
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 1.0, 2.0):
            group.create_task(sleep(seconds))
        await clock.pass_(1.5, step=0.5)
        assert woken == [1.0]
        clock.advance(10)
    assert woken == [1.0, 2.0, 3.0]
    assert (clock.now() - FakeClock().now()).total_seconds() == 11.5


@pytest.mark.parametrize(
    ("server_ahead", "believed"),
    [
        pytest.param(600.0, 600.5, id="we are behind"),
        pytest.param(-600.0, -599.5, id="we are ahead"),
        pytest.param(1.0, 0.0, id="what a date of whole seconds cannot tell"),
    ],
)
def test_the_servers_time_is_the_one_that_counts(server_ahead: float, believed: float) -> None:
    own = FakeClock()
    clock = ServerClock(own)
    assert clock.now() == own.now()

    for _ in range(3):
        clock.heard(own.now() + timedelta(seconds=server_ahead))
        own.advance(10)

    assert (clock.now() - own.now()).total_seconds() == believed
    assert clock.monotonic() == own.monotonic()
