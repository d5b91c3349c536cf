"""The two controllers as processes of their own, as their images start them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

READY_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def eventually(ask: Callable[[], Awaitable[object]], seconds: float = 30.0) -> None:
    """Wait until the answer is true; its AssertionError, or ours, where it never is."""
    deadline = time.monotonic() + seconds
    while not await ask():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Program:
    """One replica that runs, or ran."""

    name: str
    process: asyncio.subprocess.Process
    metrics_port: int
    health_port: int
    webhook_port: int
    log: Path

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def ready(self) -> bool:
        """As a kubelet asks."""
        assert self.running, self.log.read_text()[-4000:]
        return await answers(f"http://127.0.0.1:{self.health_port}/readyz")

    async def kill(self) -> float:
        """As the kernel does to one that takes too much memory; when that was."""
        self.process.kill()
        at = time.monotonic()
        await self.process.wait()
        return at

    async def terminate(self, seconds: float = 30.0) -> None:
        """As a kubelet does, with its patience."""
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(self.process.wait(), seconds) == 0, self.log.read_text()


@asynccontextmanager
async def program(
    module: str, name: str, environment: Mapping[str, str], logs: Path
) -> AsyncIterator[Program]:
    """`name`: the pod's. Whatever still runs at the end is killed."""
    ports = [free_port() for _ in range(3)]
    log = logs / f"{name}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", module),
            env={
                "PATH": os.environ["PATH"],
                "POD_NAME": name,
                "METRICS_PORT": str(ports[0]),
                "HEALTH_PROBE_PORT": str(ports[1]),
                "WEBHOOK_PORT": str(ports[2]),
                "DEBUG_PORT": "0",
                "LEADER_ELECT": "true",
                **environment,
            },
            stdout=output,
            stderr=output,
        )
    found = Program(name, process, *ports, log)
    try:
        yield found
    finally:
        if found.running:
            process.kill()
        await process.wait()


async def answers(url: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
