"""Around every request: its id, and an answer even where ours is the fault."""

from __future__ import annotations

import logging
import re
import uuid

from fastapi.responses import JSONResponse
from serving.front.asgi import App, Message, Receive, Scope, Send

HEADER = b"x-request-id"
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
"""Ids of callers that may be repeated and written to the log."""
_LOG = logging.getLogger("rag")


class Envelope:
    """The last resort. The traceback goes to the log, the caller is told where to find it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id(scope)
        scope["request_id"] = request_id.decode()
        started = False

        async def told(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = [(HEADER, request_id), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception as error:  # noqa: BLE001  # the last resort
            where = f"{scope['method']} {scope['path']!r}"
            _LOG.error("request %s: %s", request_id.decode(), where, exc_info=error)
            if started:
                # Half an answer must not look whole: the connection is broken off.
                raise BrokenOffError from None
            text = f"Internal error; see the log for {request_id.decode()}"
            await JSONResponse({"detail": text}, 500)(scope, receive, told)


class BrokenOffError(Exception):
    """Has been logged."""


def _id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == HEADER and _GIVEN.fullmatch(value):
            return bytes(value)
    return uuid.uuid4().hex.encode()
