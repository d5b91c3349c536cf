import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from kube.client import Client
from kube.lease import Lease, LeaseLostError
from kube.metrics import REGISTRY
from kube.objects import LEASES
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock, settle


@pytest.fixture
async def client(server: FakeApiServer) -> AsyncIterator[Client]:
    async with Client(server.endpoint, field_manager="test", patience=0) as client:
        yield client


def a_lease(client: Client, identity: str, clock: FakeClock) -> Lease:
    return Lease(client, "election", "system", identity, clock)


def holder(server: FakeApiServer) -> str:
    stored = server.get(LEASES, "election", "system")
    return stored["spec"]["holderIdentity"] if stored else "nobody"


async def meanwhile(clock: FakeClock, seconds: float, *tasks: asyncio.Task[None]) -> None:
    """Time passes slowly enough for requests to be answered in between."""
    for _ in range(round(seconds * 2)):
        clock.advance(0.5)
        await settle(80)
        if tasks and all(task.done() for task in tasks):
            return


async def test_the_first_takes_it(server: FakeApiServer, client: Client, clock: FakeClock) -> None:
    lease = a_lease(client, "one", clock)
    await lease.acquire()
    assert lease.holding
    stored = server.get(LEASES, "election", "system")
    assert stored is not None
    assert stored["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    assert REGISTRY.get_sample_value("leader_election_master_status", {"name": "election"}) == 1


async def test_the_holder_renews(server: FakeApiServer, client: Client, clock: FakeClock) -> None:
    lease = a_lease(client, "one", clock)
    await lease.acquire()
    holding = asyncio.create_task(lease.hold())
    standby = asyncio.create_task(a_lease(client, "two", clock).acquire())
    await meanwhile(clock, 30)
    assert not holding.done()
    assert not standby.done()
    stored = server.get(LEASES, "election", "system")
    assert stored is not None
    assert stored["spec"]["renewTime"] > "2026-01-01T00:00:25"
    for task in (holding, standby):
        task.cancel()
    await asyncio.gather(holding, standby, return_exceptions=True)


async def test_a_dead_holder_is_followed_after_its_time(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    await a_lease(client, "dead", clock).acquire()
    standby = asyncio.create_task(a_lease(client, "two", clock).acquire())
    await meanwhile(clock, 14)
    assert holder(server) == "dead"
    await meanwhile(clock, 8, standby)
    assert standby.done()
    stored = server.get(LEASES, "election", "system")
    assert stored is not None
    assert (stored["spec"]["holderIdentity"], stored["spec"]["leaseTransitions"]) == ("two", 1)


async def test_a_standby_that_looks_seldom_follows_within_18_s_of_the_last_renewal(
    server: FakeApiServer, client: Client, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst case: it looks just before the last renewal, and each pause is the longest."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    leader = a_lease(client, "dead", clock)
    await leader.acquire()
    standby = asyncio.create_task(a_lease(client, "two", clock).acquire())
    await meanwhile(clock, 0.5)
    await leader._try()
    await meanwhile(clock, 17)
    assert holder(server) == "dead"
    await meanwhile(clock, 1, standby)
    assert standby.done()


async def test_a_released_lease_is_taken_at_once(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    lease = a_lease(client, "one", clock)
    await lease.acquire()
    await lease.release()
    assert not lease.holding
    assert holder(server) == ""
    await a_lease(client, "two", clock).acquire()
    assert holder(server) == "two"


async def test_a_release_survives_a_late_renewal(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    lease = a_lease(client, "one", clock)
    await lease.acquire()
    server.refuse(1, 409, "Conflict", method="PATCH")
    await lease.release()
    assert holder(server) == ""


async def test_who_lost_it_does_not_release_it(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    lease = a_lease(client, "one", clock)
    await lease.acquire()
    stored = server.get(LEASES, "election", "system")
    assert stored is not None
    stored["spec"]["holderIdentity"] = "two"
    server.put(LEASES, stored)
    await lease.release()
    assert holder(server) == "two"


async def test_who_cannot_renew_in_time_has_lost_it(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    lease = a_lease(client, "one", clock)
    await lease.acquire()
    holding = asyncio.create_task(lease.hold())
    server.refuse(10_000, 503)
    await meanwhile(clock, 9)
    assert not holding.done()
    await meanwhile(clock, 2, holding)
    with pytest.raises(LeaseLostError):
        await holding
    assert not lease.holding


async def test_who_was_replaced_has_lost_it_at_once(
    server: FakeApiServer, client: Client, clock: FakeClock
) -> None:
    lease = a_lease(client, "one", clock)
    await lease.acquire()
    holding = asyncio.create_task(lease.hold())
    stored = server.get(LEASES, "election", "system")
    assert stored is not None
    stored["spec"]["holderIdentity"] = "two"
    server.put(LEASES, stored)
    await meanwhile(clock, 3, holding)
    with pytest.raises(LeaseLostError):
        await holding


@pytest.mark.parametrize("released", [False, True])
async def test_of_two_at_once_one_wins(
    server: FakeApiServer, client: Client, clock: FakeClock, released: bool
) -> None:
    if released:
        before = a_lease(client, "before", clock)
        await before.acquire()
        await before.release()
    leases = [a_lease(client, name, clock) for name in ("one", "two")]
    racing = [asyncio.create_task(lease.acquire()) for lease in leases]
    await meanwhile(clock, 5)
    assert [lease.holding for lease in leases].count(True) == 1
    for task in racing:
        task.cancel()
    await asyncio.gather(*racing, return_exceptions=True)
