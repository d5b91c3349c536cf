"""What the benchmarks share: a real API server, a controller as a process of its own, figures."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.meta import Resource
from kube.objects import CUSTOM_RESOURCE_DEFINITIONS, Unstructured
from localcluster import paths
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane

CRDS = Path(__file__).parents[1] / "apis" / "crds"
ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts", Unstructured)


def machine() -> str:
    """One line on what the figures were taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {sys.version.split()[0]}"


def report(figure: str, measured: str, target: str) -> None:
    """One line: what was measured, against which target."""
    print(f"{figure:<58} {measured:>16}   target {target}", flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def api_server() -> Iterator[ControlPlane]:
    """A kube-apiserver with etcd on the loopback address, our CRDs established."""
    with tempfile.TemporaryDirectory(prefix="kaito-bench-") as scratch:
        binaries = Binaries(paths.cache_directory(os.environ), paths.assets_directory(os.environ))
        plane = ControlPlane(Path(scratch), binaries, with_parent=True)
        plane.start()
        try:
            asyncio.run(_establish(plane.kubeconfig))
            yield plane
        finally:
            plane.stop()


async def _establish(kubeconfig: Path) -> None:
    async with client(kubeconfig) as kube:
        for file in sorted(CRDS.glob("*.yaml")):
            await kube.create(yaml.safe_load(file.read_text()))
        for file in sorted(CRDS.glob("*.yaml")):
            name = yaml.safe_load(file.read_text())["metadata"]["name"]
            while not await _established(kube, name):
                await asyncio.sleep(0.05)


async def _established(kube: Client, name: str) -> bool:
    definition = await kube.get(CUSTOM_RESOURCE_DEFINITIONS, name)
    conditions = definition.status.get("conditions", []) if definition else []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


@asynccontextmanager
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    """A client of the benchmark's own, so that its requests are not counted as the controller's."""
    endpoint = config.load(str(kubeconfig))
    kinds = (WORKSPACES, NODE_CLAIMS, ACCOUNTS)
    async with Client(endpoint, field_manager="benchmark", kinds=kinds) as kube:
        yield kube


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far."""

    cpu_seconds: float
    rss_mib: float
    peak_rss_mib: float


class Controller:
    """One of our controllers, running as users run it."""

    def __init__(self, module: str, kubeconfig: Path, **environment: str) -> None:
        self._metrics_port, self._health_port = free_port(), free_port()
        self._begun = time.monotonic()
        self.log = Path(tempfile.mkstemp(prefix=f"{module}-", suffix=".log")[1])
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={
                    **os.environ,
                    "KUBECONFIG": str(kubeconfig),
                    "METRICS_PORT": str(self._metrics_port),
                    "HEALTH_PROBE_PORT": str(self._health_port),
                    "LEADER_ELECT": "false",
                    "LOG_LEVEL": "warning",
                    "POD_NAMESPACE": "default",
                    **environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def ready(self) -> float:
        """Wait until caches are synced; the seconds since the process was started."""
        url = f"http://127.0.0.1:{self._health_port}/readyz"
        async with aiohttp.ClientSession() as session:
            while True:
                if self._process.poll() is not None:
                    raise RuntimeError(f"the controller ended:\n{self.log.read_text()[-3000:]}")
                try:
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            return time.monotonic() - self._begun
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.02)

    async def writes(self) -> float:
        """Requests so far that were meant to change something."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            text = await answer.text()
        lines = re.findall(r"^rest_client_requests_total\{(.*?)\} (\S+)$", text, re.MULTILINE)
        return sum(float(count) for labels, count in lines if 'method="GET"' not in labels)

    async def metric(self, name: str) -> dict[str, float]:
        """A metric's values now, by their labels as they stand (`controller="a",result="b"`)."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            text = await answer.text()
        lines = re.findall(rf"^{name}\{{(.*?)\}} (\S+)$", text, re.MULTILINE)
        return {labels: float(value) for labels, value in lines}

    def usage(self) -> Usage:
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        sizes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
        return Usage(
            cpu_seconds=(int(stat[11]) + int(stat[12])) / ticks,
            rss_mib=int(sizes["VmRSS"]) / 1024,
            peak_rss_mib=int(sizes["VmHWM"]) / 1024,
        )

    def stop(self, *, kill: bool = False) -> None:
        """`kill`: without giving it time for anything."""
        self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.log.unlink()
