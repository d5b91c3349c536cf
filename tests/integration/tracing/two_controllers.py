"""Both controllers as they are deployed, on one API server; machines are Node objects (kwok)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import yaml

import apis
from apis.kaito.v1beta1.labels import RECONCILE_ID_ANNOTATION
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.client import Client
from kube.objects import CUSTOM_RESOURCE_DEFINITIONS
from tests import builders

T = TypeVar("T")
_PATIENCE_SECONDS = 30.0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def eventually(ask: Callable[[], Awaitable[T | None]]) -> T:
    """What it answers, once that is something."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not (found := await ask()):
            await asyncio.sleep(0.05)
    return found


@dataclass
class Controller:
    """A running process."""

    name: str
    log: Path
    debug_port: int
    process: asyncio.subprocess.Process

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def grep(self, text: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if text in line]

    async def debug(self, path: str, *, put: Any = None, **query: str) -> Any:
        """What /debug answers: JSON, or text where asked for."""
        url = f"http://127.0.0.1:{self.debug_port}/debug{path}"
        method = "GET" if put is None else "PUT"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, params=query, json=put) as answer,
        ):
            body = await answer.text()
            return json.loads(body) if answer.content_type == "application/json" else body


@dataclass
class World:
    """The API server, and what runs on it."""

    kubeconfig: Path
    client: Client
    folder: Path

    async def install(self) -> None:
        folder = Path(apis.__file__).parent / "crds"
        for file in sorted(folder.glob("*.yaml")):
            manifest = yaml.safe_load(file.read_text())
            await self.client.apply(manifest)
            await eventually(lambda name=manifest["metadata"]["name"]: self._established(name))

    @asynccontextmanager
    async def running(
        self, *, level: str = "info", **environment: str
    ) -> AsyncIterator[tuple[Controller, Controller]]:
        """The workspace controller and the provisioner, until the block ends."""
        async with (
            self._program("workspace_controller", level, environment) as workspaces,
            self._program("gpu_provisioner", level, environment) as provisioner,
        ):
            yield workspaces, provisioner

    async def workspace(self, name: str, **annotations: str) -> NodeClaim:
        """Made as a user makes it; its claim, once that is ready."""
        local = {"kaito.sh/use-local-weights": "true"}
        manifest = builders.a_workspace_manifest(
            name=name,
            preset="gemma-3-270m",
            instance_type="kwok-a10-1",
            annotations={**local, **annotations},
        )
        await self.client.create(manifest)
        return await eventually(lambda: self.claim(name))

    async def claim(self, workspace: str) -> NodeClaim | None:
        found = await self.client.list(NODE_CLAIMS, labels=f"kaito.sh/workspace={workspace}")
        return next((each for each in found.items if each.is_true("Ready")), None)

    @asynccontextmanager
    async def _program(
        self, module: str, level: str, environment: dict[str, str]
    ) -> AsyncIterator[Controller]:
        debug_port, health_port = free_port(), free_port()
        log = self.folder / f"{module}-{debug_port}.log"
        with log.open("w") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module),
                env={
                    "PATH": os.environ["PATH"],
                    "KUBECONFIG": str(self.kubeconfig),
                    "CLOUD_PROVIDER": "kwok",
                    "POD_NAMESPACE": "default",
                    "HF_HUB_OFFLINE": "1",
                    "LEADER_ELECT": "true",
                    "WEBHOOK": "false",
                    "LOG_LEVEL": level,
                    "METRICS_PORT": str(free_port()),
                    "HEALTH_PROBE_PORT": str(health_port),
                    "DEBUG_PORT": str(debug_port),
                    **environment,
                },
                stderr=stderr,
            )
        try:
            await eventually(lambda: _ready(f"http://127.0.0.1:{health_port}/readyz"))
            yield Controller(module, log, debug_port, process)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 15) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _established(self, name: str) -> bool:
        found = await self.client.get(CUSTOM_RESOURCE_DEFINITIONS, name)
        conditions = (found.status.get("conditions") if found else None) or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


async def _ready(url: str) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


def reconcile_id(claim: NodeClaim) -> str:
    return claim.metadata.annotations[RECONCILE_ID_ANNOTATION]
