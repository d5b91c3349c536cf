"""Counts and times every request, streams to their last byte; probes and pages are left out."""

from __future__ import annotations

import re
import time

from serving.front import asgi
from serving.front.asgi import App, Message, Receive, Scope, Send

from rag import auth
from rag.metrics import OPERATIONS, Requests

_ROUTES = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", route)), name) for name, route in OPERATIONS.items()
]


class Observed:
    """Outside of keys and limits, so that what these refuse is counted too."""

    def __init__(self, app: App, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or auth.is_open(scope, asgi.path(scope)):
            await self._app(scope, receive, send)
            return
        operation = operation_of(scope["method"], asgi.path(scope))
        begun, status = time.perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._requests.running.inc()
        try:
            await self._app(scope, receive, told)
        except BaseException:  # cut off in the middle: whatever its status said, it failed
            status = 500
            raise
        finally:
            self._requests.running.dec()
            seconds = time.perf_counter() - begun
            self._requests.observe(operation, seconds, failed=status >= 400)


def operation_of(method: str, path: str) -> str:
    """Its name in the metrics; empty where it has none."""
    asked = f"{method} {path}"
    return next((name for route, name in _ROUTES if route.fullmatch(asked)), "")
