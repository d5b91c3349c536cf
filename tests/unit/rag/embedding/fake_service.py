"""A service on the loopback address that computes for us: what it is asked, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = tuple[int, dict[str, str], Any]
"""Status, headers, and JSON or text."""


def vector_of(text: str) -> list[float]:
    """Of no unit length, so that it shows who makes it one."""
    return [3.0 * len(text), 4.0 * len(text), 0.0]


def openai(body: dict[str, Any]) -> Answer:
    """In the wrong order, as is allowed."""
    data = [{"index": at, "embedding": vector_of(text)} for at, text in enumerate(body["input"])]
    return 200, {}, {"data": data[::-1]}


def kaito(body: dict[str, Any]) -> Answer:
    return 200, {}, vector_of(body["inputs"])


@dataclass
class FakeService:
    answer: Callable[[dict[str, Any]], Answer] = openai
    first: list[Answer] = field(default_factory=list)
    """Before `answer` is asked."""
    models: Any = field(default_factory=lambda: {"data": [{"id": "m", "max_model_len": 512}]})
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    hold: Callable[[dict[str, Any]], Awaitable[None]] | None = None
    """Awaited before an answer."""
    cancelled: int = 0
    """Requests whose client went away."""
    url: str = ""

    async def _handle(self, request: web.Request) -> web.Response:
        self.paths.append(f"{request.method} {request.path_qs}")
        self.keys.append(request.headers.get("Authorization"))
        if request.path.endswith("/models"):
            return web.json_response(self.models)
        body = await request.json()
        self.bodies.append(body)
        try:
            if self.hold is not None:
                await self.hold(body)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        status, headers, said = self.first.pop(0) if self.first else self.answer(body)
        text = said if isinstance(said, str) else json.dumps(said)
        return web.Response(text=text, status=status, headers=headers)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeService]:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


@dataclass
class Pauses:
    """In place of asyncio.sleep."""

    seconds: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
