"""Adapters come and go while vLLM serves: an ASGI middleware around its own server.

vLLM's routes for that are open to everybody who reaches the server, and take any path; so they
are closed here to those without the token. Uploads have a route of their own:

PUT    /kaito/adapters/NAME   a tar of the adapter: stored, loaded, served as NAME
DELETE /kaito/adapters/NAME   no longer served
GET    /kaito/adapters        the names
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from apis import container
from serving.adapters import archive, engine, store
from serving.adapters.archive import ArchiveError
from serving.adapters.engine import App, EngineError, Receive, Scope, Send
from serving.adapters.store import Store, StoreError

TOKEN_HEADER = b"x-kaito-adapters-token"
PREFIX = "/kaito/adapters"

_GUARDED = re.compile(r"(^|/)(v1/(un)?load_lora_adapter|adapters(/[^/]*)?)$")
"""vLLM's routes, and the same handlers under SageMaker's names."""
_MAX_BYTES = 8 << 30
_ARCHIVE = "upload.tar"


class Agent:
    """`--middleware=serving.adapters.agent.Agent`; reads its settings from the environment."""

    def __init__(self, app: App) -> None:
        self._app = app
        environment = os.environ
        self._store = Store(
            Path(environment.get(container.ENV_ADAPTERS_DIR, container.ADAPTERS_DIR))
        )
        self._token = Path(
            environment.get("KAITO_ADAPTERS_TOKEN_FILE", container.ADAPTERS_TOKEN_FILE)
        )
        self._max_bytes = int(environment.get("KAITO_ADAPTERS_MAX_BYTES", _MAX_BYTES))
        self._change = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _path(scope)
        ours = path == PREFIX or path.startswith(f"{PREFIX}/")
        if (ours or _GUARDED.search(path)) and not self._knows_token(scope):
            await _answer(send, 403, f"the header {TOKEN_HEADER.decode()} has no valid token")
        elif ours:
            await self._serve(scope, receive, send, path.removeprefix(PREFIX).strip("/"))
        else:
            # An adapter that is being replaced is gone for a moment; nobody shall see that.
            await self._open.wait()
            await self._app(scope, receive, send)

    def _knows_token(self, scope: Scope) -> bool:
        """The file is read each time: the Secret may have been made anew."""
        given = dict(scope["headers"]).get(TOKEN_HEADER, b"")
        try:
            token = self._token.read_bytes().strip()
        except OSError:
            return False
        return bool(token) and hmac.compare_digest(given, token)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        method = scope["method"]
        if method == "GET" and not name:
            await _answer(send, 200, adapters=sorted(self._store.served()))
            return
        if method not in ("PUT", "DELETE"):
            await _answer(send, 405, "PUT or DELETE an adapter by its name")
            return
        if not store.valid_name(name):
            await _answer(send, 400, f"{name!r} is no name of an adapter")
            return
        try:
            async with self._change:
                if method == "PUT":
                    await self._put(scope, receive, name)
                else:
                    await self._delete(scope, name)
        except _TooLargeError as error:
            await _answer(send, 413, str(error))
        except (ArchiveError, StoreError) as error:
            await _answer(send, 400, str(error))
        except EngineError as error:
            await _answer(send, 422, str(error))
        else:
            await _answer(send, 200, adapters=sorted(self._store.served()))

    async def _put(self, scope: Scope, receive: Receive, name: str) -> None:
        incoming = self._store.incoming()
        try:
            digest = await self._receive(receive, incoming / _ARCHIVE)
            await asyncio.to_thread(_unpack, incoming)
            folder = self._store.place(name, digest, incoming / "adapter")
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        served = self._store.served()
        if served.get(name) == folder:
            return
        try:
            await self._load(scope, name, folder, served.get(name))
        except EngineError:
            self._store.write(served)
            raise
        self._store.write({**served, name: folder})

    async def _load(self, scope: Scope, name: str, folder: Path, old: Path | None) -> None:
        """In place of the old one, which stays where the new one cannot be loaded.

        Tried under another name first, so that requests wait for the change alone. Not by
        `load_inplace`: vLLM remembers it and reads the files again at each step.
        """
        lora = engine.Lora(self._app, scope)
        if old is None:
            await lora.load(name, folder)
            return
        await lora.load(folder.name, folder)
        self._open.clear()
        try:
            await lora.unload(name)
            await lora.load(name, folder)
        except EngineError:
            await lora.load(name, old)
            raise
        finally:
            self._open.set()
            await lora.unload(folder.name)

    async def _delete(self, scope: Scope, name: str) -> None:
        served = self._store.served()
        await engine.Lora(self._app, scope).unload(name)
        served.pop(name, None)
        self._store.write(served)

    async def _receive(self, receive: Receive, target: Path) -> str:
        """The digest of the body, once it is in the file."""
        digest, size = hashlib.sha256(), 0
        with target.open("xb") as file:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ArchiveError("the upload broke off")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > self._max_bytes:
                    raise _TooLargeError(f"the adapter is larger than {self._max_bytes} bytes")
                digest.update(chunk)
                file.write(chunk)
                if not message.get("more_body", False):
                    return digest.hexdigest()[:16]


class _TooLargeError(Exception):
    pass


def _unpack(incoming: Path) -> None:
    folder = incoming / "adapter"
    folder.mkdir()
    with (incoming / _ARCHIVE).open("rb") as file:
        archive.unpack(file, folder)
    store.apply_strength(folder)


def _path(scope: Scope) -> str:
    """As the routes see it: below the root path, and a slash at the end makes no difference."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    if root and path.startswith(f"{root}/"):
        path = path.removeprefix(root)
    return path.rstrip("/")


async def _answer(send: Send, status: int, error: str = "", **more: Any) -> None:
    body = json.dumps({"error": error} if error else more).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
