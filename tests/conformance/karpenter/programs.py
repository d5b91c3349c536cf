"""Our two programs as they are deployed: processes that are told by their environment alone."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from localcluster import ports

T = TypeVar("T")
_PORTS = ("METRICS_PORT", "HEALTH_PROBE_PORT", "WEBHOOK_PORT")


@asynccontextmanager
async def program(
    module: str, environment: Mapping[str, str], kubeconfig: Path, log: Path
) -> AsyncIterator[None]:
    """Runs `python -m module`. `environment` is a Deployment's: what its pod would give it, ports
    that are free here and the way to the API server are put in their places."""
    pod = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig),
        "POD_NAMESPACE": "kaito-system",
        "POD_NAME": f"{module.replace('_', '-')}-0",
        **{name: str(port) for name, port in _free(log).items()},
    }
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module), env={**environment, **pod}, stderr=said
        )
    try:
        await eventually(lambda: _is_up(process, pod["HEALTH_PROBE_PORT"], log))
        yield
        assert process.returncode is None, f"{module} has ended; see {log}"
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 20)


async def _is_up(process: asyncio.subprocess.Process, port: str, log: Path) -> None:
    if process.returncode is not None:
        raise RuntimeError(f"it has ended; see {log}")
    assert await asyncio.to_thread(_answers, f"http://127.0.0.1:{port}/readyz")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - a port of ours
            return bool(answer.status == 200)
    except OSError:
        return False


def _free(log: Path) -> dict[str, int]:
    return ports.kept(log.with_suffix(".ports"), _PORTS)


async def eventually(check: Callable[[], Awaitable[T]], seconds: float = 40.0) -> T:
    """The check's answer, once it no longer fails; its failure, after that many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)
