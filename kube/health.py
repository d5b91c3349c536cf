"""/healthz, /readyz and /metrics, and what makes a process unhealthy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from kube import metrics
from kube.clock import Clock
from kube.informer import Informer

_TICK_SECONDS = 1.0
# Leases are renewed every 2 s and lost after 10: an event loop that is this late is a danger.
_LAG_SECONDS = 5.0
# A stream ends after 375 s at most, and its successor is a contact. More than twice that without
# one means that the informer hangs; a restart on each short outage would only add to that.
_CONTACT_SECONDS = 900.0


class Health:
    """The answers of the probes. Readiness is not leadership: a standby serves webhooks."""

    def __init__(
        self,
        informers: Iterable[Informer[Any]],
        clock: Clock,
        listening: Callable[[], bool] = lambda: True,
    ) -> None:
        """`listening`: whether a webhook call would be answered, where there is a webhook."""
        self._informers = tuple(informers)
        self._clock = clock
        self._listening = listening
        self._stopping = False
        self._lag = 0.0

    def stop(self) -> None:
        """Unready from now on, for whatever the process still does is an end."""
        self._stopping = True

    async def run(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        while True:
            due = self._clock.monotonic() + _TICK_SECONDS
            await self._clock.sleep(_TICK_SECONDS)
            self._lag = self._clock.monotonic() - due

    def sick(self) -> str:
        """Why the process should be restarted; empty where it should not."""
        if self._lag > _LAG_SECONDS:
            return f"the event loop was {self._lag:.1f} s late"
        now = self._clock.monotonic()
        for informer in self._informers:
            silent = now - informer.last_contact
            if silent > _CONTACT_SECONDS:
                return f"no contact for {informer.resource.plural} for {silent:.0f} s"
        return ""

    def unready(self) -> str:
        """Why no webhook call should come here now; empty where it may."""
        if self._stopping:
            return "shutting down"
        if not self._listening():
            return "the webhook does not listen yet"
        missing = [each.resource.plural for each in self._informers if not each.synced.is_set()]
        return f"not synced: {', '.join(missing)}" if missing else ""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)]

    async def _healthz(self, _: web.Request) -> web.Response:
        return _verdict(self.sick())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _verdict(self.unready())


def metrics_routes() -> list[web.RouteDef]:
    async def scrape(_: web.Request) -> web.Response:
        # The collectors read /proc and walk all families: not in the loop's time.
        body = await asyncio.to_thread(metrics.exposition)
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})

    return [web.get("/metrics", scrape)]


class Server:
    """A plain HTTP listener on all addresses; port 0 takes a free one, told by `port`."""

    def __init__(self, port: int, routes: Iterable[web.RouteDef]) -> None:
        self.port = port
        self._routes = list(routes)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(self._routes)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def _verdict(complaint: str) -> web.Response:
    return web.Response(status=503 if complaint else 200, text=complaint or "ok")
