"""What /debug shows, and to whom."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import aiohttp
import pytest

from kube import debugviews
from kube.client import Client
from kube.debug import DebugServer
from kube.informer import Informer
from kube.lease import Lease
from kube.meta import Key
from kube.objects import LEASES, NODES
from kube.workqueue import WorkQueue
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock


class Busy:
    """A controller with something on its hands."""

    def __init__(self, name: str, clock: FakeClock) -> None:
        self.name = name
        self.queue: WorkQueue[Key] = WorkQueue(name, clock=clock, backoff=(10.0, 300.0))

    async def run(self) -> None: ...

    def stop(self) -> None: ...


class Idle:
    """A runnable without a queue."""

    name = "idle"

    async def run(self) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
async def busy(clock: FakeClock) -> Busy:
    """`a` runs and is wanted again, `b` and `c` wait, `d` has failed twice, `e` comes back."""
    busy = Busy("nodeclaim.lifecycle", clock)
    busy.queue.add(Key("", "a"))
    assert await busy.queue.get() == Key("", "a")
    clock.advance(5)
    for name in ("b", "a"):
        busy.queue.add(Key("", name))
    clock.advance(2)
    busy.queue.add(Key("ns", "c"))
    busy.queue.add_rate_limited(Key("", "d"))
    busy.queue.add_rate_limited(Key("", "d"))
    busy.queue.add_after(Key("", "e"), 3)
    return busy


def shown(busy: Busy, clock: FakeClock, **how: Any) -> debugviews.View:
    asked = {"controller": "", "object_": "", "limit": 100, **how}
    return debugviews.queues([busy, Idle()], clock, **asked)


def rows(view: debugviews.View) -> list[tuple[Any, ...]]:
    names = ("object", "state", "seconds", "failures")
    return [tuple(row[name] for name in names) for row in view.tables["items"]]


async def test_a_queue_is_shown_in_the_order_in_which_it_will_be_worked_on(
    busy: Busy, clock: FakeClock
) -> None:
    view = shown(busy, clock)
    assert rows(view) == [
        ("a", "in flight", 7.0, 0),
        ("a", "again after", 2.0, 0),
        ("b", "waiting", 2.0, 0),
        ("ns/c", "waiting", 0.0, 0),
        ("e", "delayed", 3.0, 0),
        ("d", "delayed", 10.0, 2),
    ]
    assert view.tables["queues"] == [
        {
            "controller": "nodeclaim.lifecycle",
            "in flight": 1,
            "waiting": 2,
            "delayed": 2,
            "failing": 1,
            "shown": 6,
        }
    ]
    items = view.tables["items"]
    assert (items[0]["since"], items[0]["due"]) == ("2026-01-01T00:00:00+00:00", "")
    assert (items[4]["since"], items[4]["due"]) == ("", "2026-01-01T00:00:10+00:00")


async def test_one_object_or_a_few_rows_may_be_asked_for(busy: Busy, clock: FakeClock) -> None:
    assert [row[1] for row in rows(shown(busy, clock, object_="a"))] == ["in flight", "again after"]
    assert len(rows(shown(busy, clock, limit=2))) == 2
    assert shown(busy, clock, controller="other").tables["queues"] == []


async def test_tables_are_for_eyes(busy: Busy, clock: FakeClock) -> None:
    lines = shown(busy, clock, limit=1).as_text().splitlines()
    assert lines[0] == "CONTROLLER            IN FLIGHT   WAITING   DELAYED   FAILING   SHOWN"
    assert lines[1] == "nodeclaim.lifecycle   1           2         2         1         1"
    assert lines[4].split() == [
        *("nodeclaim.lifecycle", "a", "in", "flight", "2026-01-01T00:00:00+00:00"),
        *("-", "7.0", "0"),
    ]
    assert debugviews.View(tables={"none": []}).as_text() == "(none)\n"


async def test_tasks_are_shown_with_what_they_wait_for() -> None:
    never = asyncio.Event()

    async def inner() -> None:
        await never.wait()

    async def outer() -> None:
        await inner()

    found = [asyncio.create_task(outer(), name=f"worker-{n}") for n in range(2)]
    await asyncio.sleep(0)
    view = debugviews.tasks(found)
    for task in found:
        task.cancel()
    (row,) = view.tables["stacks"]
    assert (row["tasks"], row["names"]) == (2, "worker-0, worker-1")
    frames = [frame.split(" ")[1] for frame in row["stack"].split(" > ")]
    assert frames == ["outer", "inner", "wait"]
    assert row["stack"].startswith("kube/test_debug.py:")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(client: Client, clock: FakeClock, **more: Any) -> AsyncIterator[str]:
    port = free_port()
    informer = Informer(client, NODES, clock=clock)
    async with DebugServer(
        port, client=client, controllers=[Idle()], informers=[informer], clock=clock, **more
    ):
        yield f"http://127.0.0.1:{port}/debug"


async def asked(url: str, **how: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, **how) as answer:
        return answer.status, await answer.text()


async def test_a_port_that_is_taken_is_said_and_ends_nothing(
    client: Client, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """On the host's network the node's other programs may have it."""
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with DebugServer(port, client=client, controllers=[], informers=[], clock=clock):
            pass
    (said,) = [record for record in caplog.records if record.name == "kube.debug"]
    assert said.levelname == "WARNING"
    assert f"127.0.0.1:{port}" in said.getMessage()


async def test_it_listens_on_loopback_alone_and_answers_to_no_other_name(
    client: Client, clock: FakeClock
) -> None:
    async with serving(client, clock) as url:
        assert (await asked(url))[0] == 200
        status, told = await asked(url, headers={"Host": "rebound.example.org"})
        assert (status, told) == (403, "ask for localhost\n")
        port = int(url.split(":")[2].split("/")[0])
        with closing(socket.socket()) as elsewhere:
            elsewhere.bind(("127.0.0.2", port))  # nobody has taken it


async def test_port_zero_is_off(client: Client) -> None:
    async with DebugServer(0, client=client, controllers=[], informers=[]) as server:
        assert server._runner is None


async def test_the_lease_is_the_api_servers_and_ours(
    client: Client, server: FakeApiServer, clock: FakeClock
) -> None:
    lease = Lease(client, "l", "ns", "us", clock)
    async with serving(client, clock, lease=lease, lease_key=Key("ns", "l")) as url:
        assert '"holder": ""' in (await asked(f"{url}/lease"))[1]
        await lease.acquire()
        server.put(
            LEASES,
            {
                "metadata": {"name": "l", "namespace": "ns"},
                "spec": {"holderIdentity": "them", "leaseTransitions": 3},
            },
        )
        told = (await asked(f"{url}/lease?format=text"))[1].splitlines()
        assert {"holding: yes", "holder: them", "transitions: 3"} <= set(told)
        server.refuse(1, 403, "Forbidden")
        assert "Forbidden" in (await asked(f"{url}/lease"))[1]


async def test_without_a_lease_there_is_nobody_to_lead(client: Client, clock: FakeClock) -> None:
    async with serving(client, clock) as url:
        assert '"election": false' in (await asked(f"{url}/lease"))[1]
        assert "Node " in (await asked(f"{url}/informers?format=text"))[1]


@pytest.mark.parametrize("body", [b"", b"debug", b"[]", b'{"logger": "kube"}', b'{"level": "x"}'])
async def test_what_is_no_level_is_a_bad_request(
    client: Client, clock: FakeClock, body: bytes
) -> None:
    async with serving(client, clock) as url, aiohttp.ClientSession() as session:
        answer = await session.put(f"{url}/log-level", data=body)
        assert answer.status == 400
        assert "level" in await answer.text()
