"""A server that takes adapters, without vLLM, for tests: an ASGI app with vLLM's two routes that
keeps what was loaded, and the agent before it."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from serving.adapters import archive
from serving.adapters.agent import Agent
from serving.adapters.engine import Receive, Scope, Send

TOKEN = "unguessable"
CONFIG = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}


def an_adapter(folder: Path, weights: bytes = b"weights", **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def packed(folder: Path) -> bytes:
    into = io.BytesIO()
    archive.pack(folder, into)
    return into.getvalue()


def a_tar(**members: tarfile.TarInfo | bytes) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as tar:
        for name, given in members.items():
            if isinstance(given, bytes):
                member = tarfile.TarInfo(name)
                member.size = len(given)
                tar.addfile(member, io.BytesIO(given))
            else:
                tar.addfile(given)
    return into.getvalue()


def a_link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


class Engine:
    """vLLM's routes: what is loaded, and where from."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}
        self.calls: list[str] = []
        self.keys: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        """Calls that wait for something."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        path = scope["path"]
        if not path.endswith("_lora_adapter"):
            await _say(send, 200, json.dumps(sorted(self.loaded)))
            return
        assert headers[b"content-type"] == b"application/json"
        self.keys.append(headers.get(b"authorization", b"").decode())
        given = json.loads((await receive())["body"])
        await self._change(send, path.rpartition("/")[2].split("_")[0], given)

    async def _change(self, send: Send, verb: str, given: dict[str, str]) -> None:
        name = given["lora_name"]
        self.calls.append(f"{verb} {name}")
        if gate := self.gates.get(f"{verb} {name}"):
            await gate.wait()
        if verb == "unload":
            known = self.loaded.pop(name, None)
            await _say(send, 200 if known else 404, _error(f"{name} cannot be found"))
        elif name in self.loaded:
            await _say(send, 400, _error(f"{name} has already been loaded"))
        elif b"bad" in (Path(given["lora_path"]) / "adapter_model.safetensors").read_bytes():
            await _say(send, 500, _error("invalid header length"))
        else:
            self.loaded[name] = given["lora_path"]
            await _say(send, 200, '"Success"')


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message}})


async def _say(send: Send, status: int, body: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})


class Client:
    """Asks the agent as a web server would."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.agent = Agent(engine)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        token: str | None = TOKEN,
        root: str = "",
        breaks_off: bool = False,
    ) -> tuple[int, Any]:
        parts = [body[at : at + 700] for at in range(0, len(body), 700)] or [b""]
        statuses: list[int] = []
        answer = bytearray()

        async def receive() -> dict[str, Any]:
            if breaks_off and len(parts) == 1:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            else:
                answer.extend(message["body"])

        headers = [(b"content-type", b"application/json")]
        if token is not None:
            headers.append((b"x-kaito-adapters-token", token.encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": root,
            "headers": headers,
        }
        await self.agent(scope, receive, send)
        return statuses[0], json.loads(answer)

    async def put(self, name: str, body: bytes, **more: Any) -> tuple[int, Any]:
        return await self.ask("PUT", f"/kaito/adapters/{name}", body, **more)

    def on_disk(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir())
