"""Open for probes before the model is there: the server starts at once, what stands before its
routes only when the model is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from serving.front.asgi import App, Message, Receive, Scope, Send


class Early:
    """Around an app whose start takes minutes. `load` is that start; it says itself why it fails,
    and the app is then never told that it starts."""

    def __init__(self, app: App, load: Callable[[], Awaitable[bool]]) -> None:
        self._app = app
        self._load = load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        started = asyncio.create_task(self._start(scope))
        while (await receive())["type"] != "lifespan.shutdown":
            pass
        started.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, scope: Scope) -> None:
        if not await self._load():
            return
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()  # ended with the task
            asked = True
            return {"type": "lifespan.startup"}

        async def send(_message: Message) -> None:
            """The server was told long ago."""

        await self._app(scope, receive, send)
