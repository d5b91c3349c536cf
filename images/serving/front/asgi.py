"""ASGI's types, and answers without a framework."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_CLOSE_CODES = {401: 1008, 429: 1013, 503: 1013}
"""RFC 6455's policy violation, and IANA's try again later."""


def path(scope: Scope) -> str:
    """As the routes see it: below the root path, and a slash at the end makes no difference."""
    found, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    if root and found.startswith(f"{root}/"):
        found = found.removeprefix(root)
    return found.rstrip("/")


def error(message: str, kind: str, code: str) -> dict[str, Any]:
    """OpenAI's form of it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, body: Any, headers: Headers = ()
) -> None:
    """Answer in place of the app; a WebSocket is closed before it is accepted."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": _CLOSE_CODES[status], "reason": ""})
        return
    text = json.dumps(body, separators=(",", ":")).encode() if body else b""
    start = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(text)),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": text})
