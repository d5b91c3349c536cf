"""vLLM's own LoRA routes, called from within its server: what is behind us in the ASGI chain."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_NOT_FOUND = 404


class EngineError(Exception):
    """The engine refuses; its own words."""


class Lora:
    """Speaks in the name of a request that has shown the token."""

    def __init__(self, app: App, scope: Scope) -> None:
        self._app = app
        self._scope = scope

    async def load(self, name: str, folder: Path) -> None:
        status, words = await self._post(
            "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)}
        )
        if status >= 300:
            raise EngineError(words)

    async def unload(self, name: str) -> None:
        """No error where there is none of that name."""
        status, words = await self._post("/v1/unload_lora_adapter", {"lora_name": name})
        if status >= 300 and status != _NOT_FOUND:
            raise EngineError(words)

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        """Status and the words of the answer."""
        sent = False
        statuses: list[int] = []
        answer = bytearray()

        async def receive() -> Message:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()  # nobody hangs up
            sent = True
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(int(message["status"]))
            else:
                answer.extend(message.get("body", b""))

        scope = {
            **self._scope,
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": _headers(),
            "state": dict(self._scope.get("state") or {}),
        }
        await self._app(scope, receive, send)
        return (statuses[0] if statuses else 500), _words(bytes(answer))


def _headers() -> list[tuple[bytes, bytes]]:
    """With the server's own key, where it asks everybody for one."""
    found = [(b"content-type", b"application/json")]
    if key := os.environ.get("VLLM_API_KEY", ""):
        found.append((b"authorization", f"Bearer {key}".encode()))
    return found


def _words(answer: bytes) -> str:
    """The message of an error in OpenAI's form; else the text."""
    try:
        found = json.loads(answer)
        return str(found["error"]["message"])
    except (ValueError, TypeError, KeyError):
        return answer.decode(errors="replace").strip()
