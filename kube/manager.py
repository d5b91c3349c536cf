"""One process: informers and webhooks at once, controllers while it leads, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from kube.client import Client
from kube.clock import Clock
from kube.controller import Runnable
from kube.events import Recorder
from kube.health import Health, Server, metrics_routes
from kube.informer import Informer
from kube.lease import Lease, LeaseLostError

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FLUSH_SECONDS = 2.0


class Webhook(Protocol):
    """Serves admission, on standbys too."""

    @property
    def ready(self) -> asyncio.Event:
        """Set while it listens."""

    def let_go(self) -> None:
        """Answer on, but send clients elsewhere with each answer."""

    async def run(self) -> None:
        """Serve until cancelled."""


class Manager:
    """Runs the parts until a signal, or until one of them fails, which `run` then raises.
    It closes `client` at the end.

    A lost lease is no such failure: while the API server is away nobody can renew, and a process
    that ended over it would take its webhook along and come back only after a crash loop's pause.

    Informers, probes, metrics, webhook and recorder run at once; controllers when the lease is
    held (where there is one) and all caches are full. Equal ports share a listener. `grace`:
    seconds that running reconciles get to end after a signal.

    A signal first makes the process unready. Then two things go on side by side: reconciles end
    and the lease is released, so that a standby works at once; and for `shutdown_delay` seconds
    the webhook answers all that still comes, until no Service sends anything here any more.
    """

    def __init__(
        self,
        *,
        client: Client,
        informers: Iterable[Informer[Any]],
        controllers: Iterable[Runnable],
        lease: Lease | None = None,
        health_port: int,
        metrics_port: int,
        webhook: Webhook | None = None,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
        grace: float = 20.0,
        shutdown_delay: float = 0.0,
    ) -> None:
        self._client = client
        self._informers: Sequence[Informer[Any]] = tuple(informers)
        self._controllers: Sequence[Runnable] = tuple(controllers)
        self._lease = lease
        self._webhook = webhook
        self._recorder = recorder
        self._grace = grace
        self._shutdown_delay = shutdown_delay
        self._health = Health(self._informers, clock or Clock(), self._listening)
        self._health_server = Server(health_port, self._health.routes())
        self._metrics_server = Server(metrics_port, metrics_routes())
        if health_port and health_port == metrics_port:
            shared = Server(health_port, [*self._health.routes(), *metrics_routes()])
            self._health_server = self._metrics_server = shared
        self._stopping = asyncio.Event()
        self._happened = asyncio.Event()
        self._core: list[asyncio.Task[None]] = []
        self._leading: list[asyncio.Task[None]] = []
        self._held: asyncio.Task[None] | None = None
        self._running: list[asyncio.Task[None]] = []
        self.serving = asyncio.Event()
        """Set once the probes answer."""

    @property
    def health_port(self) -> int:
        return self._health_server.port

    @property
    def metrics_port(self) -> int:
        return self._metrics_server.port

    def stop(self) -> None:
        """What a SIGTERM does: be unready, let running reconciles end, release the lease, answer
        reviews for a while, return."""
        self._health.stop()
        if self._webhook is not None:
            self._webhook.let_go()
        self._stopping.set()
        self._happened.set()

    async def run(self) -> None:
        """Run until stopped; raises what a part raised, so that the process ends non-zero."""
        with self._signals():
            try:
                await self._start()
                await self._until_stopped_or_broken()
            finally:
                await self._shut_down()

    async def _start(self) -> None:
        servers = {self._health_server, self._metrics_server}
        for server in servers:
            await server.start()
        self.serving.set()
        self._spawn("event loop probe", self._health.run())
        for informer in self._informers:
            self._spawn(f"informer of {informer.resource.plural}", informer.run())
        if self._webhook is not None:
            self._spawn("webhook", self._webhook.run())
        if self._recorder is not None:
            self._spawn("recorder", self._recorder.run())
        self._leading = [self._spawn("controllers", self._lead())]

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(lambda _: self._happened.set())
        self._core.append(task)
        return task

    async def _lead(self) -> None:
        """Term after term: who loses the lease stops at once, and stands for it again."""
        for informer in self._informers:
            await informer.synced.wait()
        while not self._stopping.is_set():
            if self._lease is not None:
                await self._lease.acquire()
                self._held = asyncio.create_task(self._lease.hold(), name="lease")
            self._running = [
                asyncio.create_task(controller.run(), name=controller.name)
                for controller in self._controllers
            ]
            logger.info("%d controllers started", len(self._controllers))
            try:
                await self._term()
            except LeaseLostError as lost:
                # Killed in mid-write, as by a crash: what is half done is done again.
                await _cancelled(self._running)
                logger.warning("%s: controllers stopped", lost)

    async def _term(self) -> None:
        """Until told to stop; raises what a controller or the lease raised before that."""
        stopping = asyncio.create_task(self._stopping.wait())
        held = [] if self._held is None else [self._held]
        try:
            ended, _ = await asyncio.wait(
                [stopping, *held, *self._running], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopping.cancel()
        for task in ended:
            task.result()
        if not self._stopping.is_set():
            raise RuntimeError(f"{ended.pop().get_name()} ended by itself")

    async def _until_stopped_or_broken(self) -> None:
        while not self._stopping.is_set():
            await self._happened.wait()
            self._happened.clear()
            for task in [task for task in self._core if task.done()]:
                task.result()  # raises what the part raised
                if not self._stopping.is_set():
                    raise RuntimeError(f"{task.get_name()} ended by itself")

    async def _drain(self) -> None:
        """Let what runs end, as long as it may: the grace is not over and the lease is ours."""
        if not self._running:
            return
        ended = asyncio.gather(*self._running, return_exceptions=True)
        waited: set[asyncio.Future[Any]] = {ended}
        if self._held is not None:
            waited.add(self._held)
        await asyncio.wait(waited, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        for task in self._running:
            if not task.done():
                logger.warning("%s did not end in %.0f s", task.get_name(), self._grace)

    async def _shut_down(self) -> None:
        for controller in self._controllers:
            controller.stop()
        answering = asyncio.create_task(self._answer_on(), name="last reviews")
        try:
            if self._stopping.is_set():
                await self._drain()
                await self._resign()
                if self._recorder is not None:
                    await _within(_FLUSH_SECONDS, self._recorder.flush())
                await answering
        finally:  # also where it is cancelled while it waits
            await _cancelled([answering])
            await self._close()

    def _listening(self) -> bool:
        return self._webhook is None or self._webhook.ready.is_set()

    async def _answer_on(self) -> None:
        """As long as somebody may still be sent here; not where the webhook is what broke."""
        if self._webhook is not None and self._webhook.ready.is_set():
            await asyncio.sleep(self._shutdown_delay)

    async def _resign(self) -> None:
        """The lease goes once nothing can act any more; nor may a standby get it now."""
        held = [] if self._held is None else [self._held]
        await _cancelled([*self._leading, *self._running, *held])
        if self._lease is not None:
            await self._lease.release()

    async def _close(self) -> None:
        await self._resign()
        await _cancelled(self._core)
        for server in {self._health_server, self._metrics_server}:
            await server.stop()
        await self._client.close()
        logger.info("stopped")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    await _cancelled(list((await asyncio.wait({asyncio.create_task(work)}, timeout=seconds))[1]))


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them and wait until they are gone; what they raise on the way was told already."""
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
