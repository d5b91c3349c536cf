import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from kube.client import Client
from kube.controller import Controller, Result, Singleton
from kube.events import Recorder
from kube.health import Health
from kube.informer import Informer
from kube.lease import Lease
from kube.manager import Manager
from kube.meta import Manifest
from kube.objects import CONFIG_MAPS, EVENTS, LEASES, ConfigMap
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock, settle


@pytest.fixture
async def client(server: FakeApiServer) -> AsyncIterator[Client]:
    async with Client(server.endpoint, field_manager="test", patience=0) as client:
        yield client


def a_config_map(name: str) -> Manifest:
    return {"metadata": {"name": name, "namespace": "default"}}


class Slow:
    """A reconciler that waits at a gate."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.ended = 0

    async def reconcile(self, _: ConfigMap) -> Result:
        self.begun.set()
        await self.gate.wait()
        self.ended += 1
        return Result()


class World:
    """A manager with one controller over ConfigMaps, and its parts."""

    def __init__(self, server: FakeApiServer, client: Client, **options: Any) -> None:
        self.server = server
        self.reconciler = Slow()
        self.informer = Informer(client, CONFIG_MAPS)
        self.controller = Controller("slow", self.informer, self.reconciler)
        self.recorder = Recorder(client, "test")
        self.lease = Lease(client, "election", "system", "us", retry=0.01)
        parts: dict[str, Any] = {
            "client": client,
            "informers": [self.informer],
            "controllers": [self.controller],
            "lease": self.lease,
            "recorder": self.recorder,
            "health_port": 0,
            "metrics_port": 0,
        }
        self.manager = Manager(**parts | options)
        self.task = asyncio.create_task(self.manager.run())

    async def ended(self) -> None:
        async with asyncio.timeout(1):
            await self.task

    async def begun(self) -> None:
        async with asyncio.timeout(1):
            await self.reconciler.begun.wait()

    def holder(self) -> str:
        stored = self.server.get(LEASES, "election", "system")
        return stored["spec"]["holderIdentity"] if stored else "nobody"


@pytest.fixture
async def world(server: FakeApiServer, client: Client) -> AsyncIterator[Callable[..., World]]:
    worlds: list[World] = []

    def build(**options: Any) -> World:
        worlds.append(World(server, client, **options))
        return worlds[-1]

    yield build
    for each in worlds:
        each.reconciler.gate.set()
        each.manager.stop()
        await asyncio.wait([each.task], timeout=1)
        assert each.task.done()
        if not each.task.cancelled():
            each.task.exception()


async def ask(port: int, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()


async def test_a_signal_ends_it_in_order(server: FakeApiServer, world: Any) -> None:
    server.put(CONFIG_MAPS, a_config_map("a"))
    running = world()
    await running.begun()
    assert running.holder() == "us"
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.02)
    assert not running.task.done()  # a reconcile is still running, and the lease still ours
    assert running.holder() == "us"
    running.reconciler.gate.set()
    server.delay = 0.02  # the last words take longer than the last reconcile
    running.recorder.event(
        CONFIG_MAPS, running.informer.store.list()[0].metadata, "Normal", "Last", "words"
    )
    await running.ended()
    assert running.reconciler.ended == 1
    assert running.holder() == ""
    assert [event["message"] for event in server.list(EVENTS)] == ["words"]


async def test_grace_ends(server: FakeApiServer, world: Any) -> None:
    server.put(CONFIG_MAPS, a_config_map("a"))
    running = world(grace=0.02)
    await running.begun()
    running.manager.stop()
    await running.ended()
    assert running.reconciler.ended == 0
    assert running.holder() == ""


async def test_who_is_killed_while_he_waits_leaves_nothing_open(
    server: FakeApiServer, world: Any
) -> None:
    server.put(CONFIG_MAPS, a_config_map("a"))
    here = world()
    await here.begun()
    here.manager.stop()
    await settle()
    here.task.cancel()
    await asyncio.wait([here.task], timeout=1)
    assert here.task.cancelled()
    assert here.holder() == ""
    for port in (here.manager.health_port, here.manager.metrics_port):
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask(port, "/healthz")


async def test_a_standby_is_ready_but_does_nothing(server: FakeApiServer, world: Any) -> None:
    server.put(CONFIG_MAPS, a_config_map("a"))
    leader = world()
    await leader.begun()
    standby = world()
    standby.lease._identity = "standby"
    async with asyncio.timeout(1):
        await standby.informer.synced.wait()
    assert (await ask(standby.manager.health_port, "/readyz"))[0] == 200
    assert not standby.reconciler.begun.is_set()
    leader.reconciler.gate.set()
    leader.manager.stop()
    await leader.ended()
    await standby.begun()


async def test_who_loses_the_lease_stops_at_once_and_goes_on_when_it_is_his_again(
    server: FakeApiServer, world: Any
) -> None:
    server.put(CONFIG_MAPS, a_config_map("a"))
    running = world()
    await running.begun()
    stolen = server.get(LEASES, "election", "system")
    assert stolen is not None
    stolen["spec"] |= {"holderIdentity": "thief", "leaseDurationSeconds": 1}
    server.put(LEASES, stolen)
    async with asyncio.timeout(1):
        while running.lease.holding:
            await asyncio.sleep(0.005)
    running.reconciler.begun.clear()
    await asyncio.sleep(0.05)
    assert running.reconciler.ended == 0  # not even what was running
    assert not running.reconciler.begun.is_set()
    assert running.holder() == "thief"
    async with asyncio.timeout(3):  # the thief does not renew
        await running.reconciler.begun.wait()
    assert running.holder() == "us"
    running.reconciler.gate.set()
    server.put(CONFIG_MAPS, a_config_map("b"))
    async with asyncio.timeout(1):
        while running.reconciler.ended < 2:
            await asyncio.sleep(0.005)
    assert not running.task.done()


class Webhook:
    """Listens when the test says so."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.said: list[str] = []

    def let_go(self) -> None:
        self.said.append("let go")

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.said.append("closed")


async def test_it_is_ready_once_its_webhook_listens(world: Any) -> None:
    webhook = Webhook()
    running = world(webhook=webhook, lease=None)
    async with asyncio.timeout(1):
        await running.informer.synced.wait()
    port = running.manager.health_port
    assert await ask(port, "/readyz") == (503, "the webhook does not listen yet")
    webhook.ready.set()
    assert await ask(port, "/readyz") == (200, "ok")


async def test_the_webhook_answers_on_after_the_lease_has_gone(
    server: FakeApiServer, world: Any
) -> None:
    server.put(CONFIG_MAPS, a_config_map("a"))
    webhook = Webhook()
    webhook.ready.set()
    running = world(webhook=webhook, shutdown_delay=0.3)
    running.reconciler.gate.set()
    await running.begun()
    standby = world()
    standby.lease._identity = "standby"
    started = asyncio.get_running_loop().time()
    running.manager.stop()
    assert await ask(running.manager.health_port, "/readyz") == (503, "shutting down")
    async with asyncio.timeout(0.25):
        await standby.begun()
    assert (running.holder(), webhook.said) == ("standby", ["let go"])
    await running.ended()
    assert asyncio.get_running_loop().time() - started >= 0.3
    assert webhook.said == ["let go", "closed"]


async def test_who_is_leaving_does_not_take_the_lease(server: FakeApiServer, world: Any) -> None:
    webhook = Webhook()
    webhook.ready.set()
    leader = world()
    leader.reconciler.gate.set()
    server.put(CONFIG_MAPS, a_config_map("a"))
    await leader.begun()
    leaving = world(webhook=webhook, shutdown_delay=0.2)
    leaving.lease._identity = "leaving"
    await leaving.manager.serving.wait()
    leaving.manager.stop()
    leader.manager.stop()
    await leader.ended()
    await leaving.ended()
    assert leaving.holder() == ""
    assert not leaving.reconciler.begun.is_set()


async def test_a_broken_part_ends_it(world: Any) -> None:
    class Broken(Webhook):
        async def run(self) -> None:
            raise RuntimeError("no certificate")

    with pytest.raises(RuntimeError, match="no certificate"):
        await world(webhook=Broken()).ended()


async def test_a_broken_part_leaves_no_grace(server: FakeApiServer, world: Any) -> None:
    breaks = asyncio.Event()

    class Breaking(Webhook):
        async def run(self) -> None:
            await breaks.wait()
            raise RuntimeError("no certificate")

    server.put(CONFIG_MAPS, a_config_map("a"))
    running = world(webhook=Breaking())
    await running.begun()
    breaks.set()
    with pytest.raises(RuntimeError, match="no certificate"):
        await running.ended()
    assert running.reconciler.ended == 0
    assert running.holder() == ""  # a standby need not wait for our restart


async def test_a_part_that_just_ends_is_broken_too(world: Any) -> None:
    class Finished(Webhook):
        async def run(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="webhook ended"):
        await world(webhook=Finished()).ended()


async def test_a_controller_that_breaks_ends_it(world: Any) -> None:
    class Broken(Singleton):
        async def run(self) -> None:
            raise RuntimeError("bug")

    async def nothing() -> None:
        pass

    with pytest.raises(RuntimeError, match="bug"):
        await world(controllers=[Broken("broken", 1.0, nothing)], lease=None).ended()


async def test_probes_and_metrics(server: FakeApiServer, world: Any) -> None:
    server.refuse(2, 503, watch=False)
    running = world(lease=None)
    await running.manager.serving.wait()
    status, text = await ask(running.manager.health_port, "/readyz")
    assert (status, text) == (503, "not synced: configmaps")
    assert await ask(running.manager.health_port, "/healthz") == (200, "ok")
    status, text = await ask(running.manager.metrics_port, "/metrics")
    assert status == 200
    assert 'workqueue_depth{name="slow"}' in text
    assert "process_resident_memory_bytes" in text


async def test_equal_ports_share_a_listener(world: Any) -> None:
    free = world(lease=None)
    await free.manager.serving.wait()
    port = free.manager.health_port
    free.manager.stop()
    await free.ended()
    shared = world(lease=None, health_port=port, metrics_port=port)
    await shared.manager.serving.wait()
    assert (await ask(port, "/healthz"))[0] == 200
    assert (await ask(port, "/metrics"))[0] == 200


async def test_a_late_loop_and_a_silent_server_are_sick(client: Client, clock: FakeClock) -> None:
    informer = Informer(client, CONFIG_MAPS, clock=clock)
    health = Health([informer], clock)
    measuring = asyncio.create_task(health.run())
    await settle()
    clock.advance(1)
    await settle()
    assert health.sick() == ""
    clock.advance(9)
    await settle()
    assert health.sick() == "the event loop was 8.0 s late"
    clock.advance(1)
    await settle()
    assert health.sick() == ""
    await clock.pass_(900, step=1)
    assert "no contact for configmaps" in health.sick()
    measuring.cancel()
