"""gpu-provisioner on AKS against an emulated ARM: requests, waits, and what others' work costs.

The provisioner runs as users run it, with the vendor's SDK over TLS; ARM and the kubelets are
played by this script, on the same cores. `--pool-seconds 60` is the full scale, which takes longer
and costs no more: nothing depends on how long a pool takes but the waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _harness as harness

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.client import Client
from kube.informer import Informer
from kube.meta import Manifest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the emulator lives with the tests

from tests.fakes.arm.__main__ import settings
from tests.fakes.arm.aks import Aks
from tests.fakes.arm.nodes import Kubelets
from tests.fakes.arm.server import ArmServer

SINGLES = 20
SERIAL = 5
WRITES = frozenset({"PUT", "DELETE", "POST"})


@dataclass
class World:
    """One run: an ARM, kubelets, and when each claim was seen to become ready or to go."""

    kube: Client
    kubeconfig: Path
    aks: Aks
    arm: ArmServer
    kubelets: Kubelets
    made: dict[str, float] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)

    def note(self, old: NodeClaim | None, new: NodeClaim | None) -> None:
        if new is None and old is not None:
            self.gone.setdefault(old.metadata.name, time.time())
        elif new is not None and new.is_true("Ready"):
            self.ready.setdefault(new.metadata.name, time.time())

    def controller(self) -> harness.Controller:
        given = {**settings(self.arm), "AZURE_MAX_AGENT_POOLS": "1000", "WORKERS": "100"}
        return harness.Controller(
            "gpu_provisioner", self.kubeconfig, CLOUD_PROVIDER="azure", **given
        )

    async def create(self, names: Iterable[str]) -> None:
        async def one(name: str) -> None:
            self.made[name] = time.time()
            await self.kube.create(claim(name))

        await asyncio.gather(*(one(name) for name in names))

    async def delete(self, names: Iterable[str]) -> None:
        await asyncio.gather(*(self.kube.delete(NODE_CLAIMS, name) for name in names))

    def spent(self, before: Counter[str]) -> tuple[int, int]:
        """Reads and writes of ARM since."""
        since = self.arm.counts - before
        writes = sum(count for kind, count in since.items() if kind.split()[0] in WRITES)
        return since.total() - writes, writes

    def first_put(self, name: str) -> float:
        """Seconds from the claim to its PUT."""
        offset = time.time() - time.monotonic()
        at = next(
            call.at
            for call in self.arm.calls
            if call.counted == "PUT agentPool" and call.path["pool"] == name
        )
        return at + offset - self.made[name]

    def after_node(self, names: Iterable[str]) -> list[float]:
        return [max(0.0, self.ready[name] - self.kubelets.joined[name]) for name in names]


def claim(name: str) -> Manifest:
    """As KAITO writes it."""
    size = "Standard_NC24ads_A100_v4"
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "labels": {"kaito.sh/workspace": name, "kaito.sh/workspacenamespace": "default"},
        },
        "spec": {
            "nodeClassRef": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
            "requirements": [
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [size]}
            ],
            "resources": {"requests": {"storage": "128Gi"}},
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            "expireAfter": "Never",
        },
    }


@asynccontextmanager
async def world(plane: Any, **given: Any) -> AsyncIterator[World]:
    async with harness.client(plane.kubeconfig) as kube:
        kubelets = Kubelets(kube)
        aks = Aks(on_ready=kubelets.join, on_gone=kubelets.leave, pool_limit=1000, **given)
        async with ArmServer(aks) as arm:
            found = World(kube, plane.kubeconfig, aks, arm, kubelets)
            informer: Informer[NodeClaim] = Informer(kube, NODE_CLAIMS)
            informer.subscribe(found.note)
            task = asyncio.create_task(informer.run())
            await informer.synced.wait()
            try:
                yield found
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def until(seen: dict[str, float], names: Iterable[str], seconds: float) -> None:
    wanted, deadline = set(names), time.monotonic() + seconds
    while not wanted <= seen.keys():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(wanted - seen.keys())} claims are not there yet")
        await asyncio.sleep(0.05)


async def singles(here: World) -> None:
    """One claim after the other on an idle provisioner."""
    here.aks.create_seconds = 0.5
    names = [f"one{number}" for number in range(SINGLES)]
    before = Counter(here.arm.counts)
    for name in names:
        await here.create([name])
        await until(here.ready, [name], 60)
    puts = [here.first_put(name) for name in names]
    reads, writes = here.spent(before)
    p50 = harness.percentile(puts, 0.5) * 1e3
    harness.report(f"claim → PUT, p50 of {SINGLES}, one by one", f"{p50:.0f} ms", "0.5 s (Go)")
    cost = f"{reads / SINGLES:.2f} + {writes / SINGLES:.2f}"
    harness.report("ARM reads + writes a claim, one by one", cost, "≤ 3 + 1")
    await here.delete(names)
    await until(here.gone, names, 120)


async def many(
    here: World, controller: harness.Controller, count: int, pool_seconds: float
) -> None:
    here.aks.create_seconds, here.aks.delete_seconds = pool_seconds, 5.0
    names = [f"many{number}" for number in range(count)]
    before = Counter(here.arm.counts)
    written, refused = await controller.writes(), await conflicts(controller)
    begun = time.time()
    await here.create(names)
    await until(here.ready, names, pool_seconds + 120)
    all_ready = time.time() - begun
    last_put = max(here.first_put(name) + here.made[name] for name in names) - begun
    reads, writes = here.spent(before)
    waits = here.after_node(names)
    harness.report(f"{count} claims at once: last PUT", f"{last_put:.1f} s", "≤ 5 s")
    harness.report("Ready after its node, p50", f"{harness.percentile(waits, 0.5):.2f} s", "≤ 3 s")
    harness.report("Ready after its node, p99", f"{harness.percentile(waits, 0.99):.2f} s", "≤ 3 s")
    cost = f"{reads / count:.2f} + {writes / count:.2f}"
    harness.report("ARM reads + writes a claim", cost, "≤ 3 + 1")
    written = (await controller.writes() - written) / count
    refused = (await conflicts(controller) - refused) / count
    told = f"{written:.1f}, {refused:.1f}"
    harness.report("API writes a claim, of them refused as late", told, "≤ 12, ≤ 1")
    harness.report(f"all {count} Ready, pools of {pool_seconds:g} s", f"{all_ready:.1f} s", "–")

    before, begun = Counter(here.arm.counts), time.time()
    await here.delete(names)
    await until(here.gone, names, 300)
    reads, writes = here.spent(before)
    cost = f"{reads / count:.2f} + {writes / count:.2f}"
    took = time.time() - begun
    harness.report("ARM reads + writes to delete a claim", cost, "≤ 2 + 1")
    harness.report(f"{count} deleted, pools that take 5 s to go", f"{took:.1f} s", "–")


async def conflicts(controller: harness.Controller) -> float:
    """Requests so far that the API server has refused because somebody had written since."""
    requests = await controller.metric("rest_client_requests_total")
    return sum(count for labels, count in requests.items() if 'code="409"' in labels)


async def serial(here: World, pool_seconds: float) -> None:
    """A cluster that takes one operation at a time."""
    here.aks.create_seconds, here.aks.concurrency, here.aks.refused_busy = pool_seconds, 1, 0
    names = [f"turn{number}" for number in range(SERIAL)]
    begun = time.time()
    before = Counter(here.arm.counts)
    await here.create(names)
    await until(here.ready, names, SERIAL * (pool_seconds + 30))
    took = time.time() - begun
    reads, _ = here.spent(before)
    least = SERIAL * pool_seconds
    what = f"serial cluster, {SERIAL} pools of {pool_seconds:g} s: the last is Ready"
    harness.report(what, f"{took:.0f} s", f"{least:.0f} s at best")
    harness.report("  refused calls", f"{here.aks.refused_busy}", "32 (Go)")
    harness.report("  ARM reads a claim", f"{reads / SERIAL:.1f}", "≤ 3")
    here.aks.concurrency = None
    await here.delete(names)
    await until(here.gone, names, 300)


async def restart(here: World, controller: harness.Controller, pool_seconds: float) -> Any:
    """Killed while pools are being made; the next process finds them."""
    here.aks.create_seconds = pool_seconds
    names = [f"kill{number}" for number in range(10)]
    before = Counter(here.arm.counts)
    await here.create(names)
    while len(here.aks.pools) < len(names):
        await asyncio.sleep(0.05)
    controller.stop(kill=True)
    controller = here.controller()
    await controller.ready()
    await until(here.ready, names, pool_seconds + 60)
    reads, writes = here.spent(before)
    worst = max(here.after_node(names))
    harness.report(
        "killed in mid-create: Ready after its node, worst of 10", f"{worst:.1f} s", "≤ 5 s"
    )
    harness.report("  ARM reads + writes of both processes", f"{reads} + {writes}", "≤ 30 + 10")
    return controller


async def main(plane: Any, count: int, pool_seconds: float) -> None:
    print(harness.machine())
    async with world(plane) as here:
        controller = here.controller()
        try:
            await controller.ready()
            await singles(here)
            await many(here, controller, count, pool_seconds)
            usage = controller.usage()
            memory = f"{usage.rss_mib:.0f} ({usage.peak_rss_mib:.0f}) MiB"
            harness.report("RSS after it (peak)", memory, "≤ 150 MiB")
            await serial(here, pool_seconds)
            controller = await restart(here, controller, pool_seconds)
        finally:
            controller.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=200)
    parser.add_argument("--pool-seconds", type=float, default=10.0)
    chosen = parser.parse_args()
    with harness.api_server() as plane:
        asyncio.run(main(plane, chosen.claims, chosen.pool_seconds))
