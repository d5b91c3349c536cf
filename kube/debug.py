"""What a running controller is busy with, for whoever wants to know at night: /debug over HTTP.

It listens on the pod's loopback address alone, so that it is reached by `kubectl port-forward`, and
by nobody who may not do that. It tells keys, counts and times; never what is in an object.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Self

from aiohttp import web

from kube import debugviews, log
from kube.client import Client
from kube.clock import Clock
from kube.controller import Runnable
from kube.debugviews import View
from kube.errors import KubeError
from kube.informer import Informer
from kube.lease import Lease
from kube.meta import Key
from kube.objects import LEASES
from kube.transport import NETWORK_ERRORS

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
_HOSTS = frozenset({"127.0.0.1", "localhost"})
_LEASE_SECONDS = 5.0
_ROWS = 500


class DebugServer:
    """`async with` it, around what it shows. Port 0: none; one that is taken: a warning."""

    def __init__(
        self,
        port: int,
        *,
        client: Client,
        controllers: Iterable[Runnable],
        informers: Iterable[Informer[Any]],
        lease: Lease | None = None,
        lease_key: Key | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._port = port
        self._client = client
        self._controllers = tuple(controllers)
        self._informers = tuple(informers)
        self._lease = lease
        self._lease_key = lease_key
        self._clock = clock or Clock()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        if self._port:
            app = web.Application(middlewares=[_local])
            app.add_routes(self._routes())
            self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
            await self._runner.setup()
            try:
                await web.TCPSite(self._runner, ADDRESS, self._port).start()
            except OSError as error:  # it is for looking in, and what is looked at goes on
                logger.warning("no /debug: %s:%s: %s", ADDRESS, self._port, error)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/debug", self._index),
            web.get("/debug/queues", self._queues),
            web.get("/debug/informers", self._of(self._seen)),
            web.get("/debug/lease", self._leading),
            web.get("/debug/tasks", self._of(lambda: debugviews.tasks(asyncio.all_tasks()))),
            web.get("/debug/log-level", self._of(debugviews.levels)),
            web.put("/debug/log-level", self._set_level),
        ]

    async def _index(self, _: web.Request) -> web.Response:
        paths = sorted({f"{route.method} {route.path}" for route in self._routes()})
        return web.Response(text="\n".join([*paths, "add ?format=text for tables", ""]))

    def _of(self, view: Callable[[], View]) -> Callable[[web.Request], Any]:
        async def answer(request: web.Request) -> web.Response:
            return _answer(request, view())

        return answer

    def _seen(self) -> View:
        return debugviews.informers(self._informers, self._clock)

    async def _queues(self, request: web.Request) -> web.Response:
        """`?controller=` and `?object=` choose, `?limit=` says how many rows of each queue."""
        asked = request.query.get("limit", "")
        limit = int(asked) if asked.isdigit() else _ROWS
        view = debugviews.queues(
            self._controllers,
            self._clock,
            controller=request.query.get("controller", ""),
            object_=request.query.get("object", ""),
            limit=limit,
        )
        return _answer(request, view)

    async def _leading(self, request: web.Request) -> web.Response:
        """What the API server has, beside what this process believes."""
        if self._lease is None or self._lease_key is None:
            return _answer(request, View({"election": False}))
        told: dict[str, Any] = {
            "election": True,
            "lease": str(self._lease_key),
            "holding": self._lease.holding,
        }
        try:
            async with asyncio.timeout(_LEASE_SECONDS):
                key = self._lease_key
                live = await self._client.get(LEASES, key.name, key.namespace)
        except (KubeError, *NETWORK_ERRORS) as error:
            return _answer(request, View({**told, "error": log.summary(error)}))
        return _answer(request, debugviews.lease(told, live, self._clock))

    async def _set_level(self, request: web.Request) -> web.Response:
        """`{"level": "debug"}`, and `"logger"` for a part; gone with the process."""
        try:
            body = await request.json()
            log.set_level(str(body["level"]), str(body.get("logger", "")))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            sentence = 'PUT {"level": "debug"}, or {"level": "debug", "logger": "kube.informer"}\n'
            return web.Response(status=400, text=sentence)
        except ValueError as refused:
            return web.Response(status=400, text=f"{refused}\n")
        logger.warning("log level of %s is now %s", body.get("logger") or "all", body["level"])
        return _answer(request, debugviews.levels())


@web.middleware
async def _local(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """A page in the browser of whoever forwards the port may ask here under a name of its own."""
    if (request.url.host or "") not in _HOSTS:
        return web.Response(status=403, text="ask for localhost\n")
    answer: web.StreamResponse = await handler(request)
    return answer


def _answer(request: web.Request, view: View) -> web.Response:
    if request.query.get("format") == "text":
        return web.Response(text=view.as_text())
    body = json.dumps(view.as_json(), indent=2, default=str) + "\n"
    return web.Response(text=body, content_type="application/json")
