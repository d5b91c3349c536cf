"""gpu-provisioner with simulated machines against a real API server: many claims, and a restart.

    python benchmarks/kwok_scale.py [CLAIMS] [IDLE_CLAIMS] [NODES]

200 claims that come and go, 500 that stay, and 5,000 nodes in all by default.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from typing import Any

import _harness as harness

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.client import Client
from kube.meta import Manifest
from kube.objects import NODES

CONNECTIONS = 16
IDLE_SECONDS = 30.0
SETTINGS = {"CLOUD_PROVIDER": "kwok", "WORKERS": "100"}
PARTS = ("workqueue_depth", "workqueue_unfinished_work_seconds")


def claim(name: str) -> Manifest:
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": name, "labels": {"kaito.sh/workspace": name}},
        "spec": {
            "nodeClassRef": {
                "group": "karpenter.kwok.sh",
                "kind": "KWOKNodeClass",
                "name": "default",
            },
            "expireAfter": "Never",
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            "requirements": [
                {
                    "key": "node.kubernetes.io/instance-type",
                    "operator": "In",
                    "values": ["kwok-a10-1", "kwok-a100-1"],
                }
            ],
            "resources": {"requests": {"nvidia.com/gpu": "1"}},
        },
    }


def node(name: str) -> Manifest:
    """Of somebody else; as large as they are."""
    labels = {f"example.com/property-{n}": f"value-{n}" for n in range(12)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, "kubernetes.io/hostname": name}},
        "spec": {"providerID": f"other:///{name}"},
    }


async def each(items: Iterable[Any], call: Any) -> None:
    """`call` on every item, a few at a time."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await call(item)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


async def ready(kube: Client, names: set[str]) -> None:
    while True:
        claims = (await kube.list(NODE_CLAIMS)).items
        if names <= {each.metadata.name for each in claims if each.is_true("Ready")}:
            return
        await asyncio.sleep(0.2)


async def gone(kube: Client) -> None:
    while (await kube.list(NODE_CLAIMS)).items or (await kube.list(NODES)).items:
        await asyncio.sleep(0.2)


async def come_and_go(kube: Client, controller: harness.Controller, count: int) -> None:
    names = [f"go{number:04d}" for number in range(count)]
    writes, begun = await controller.writes(), time.monotonic()
    await each(names, lambda name: kube.create(claim(name)))
    await ready(kube, set(names))
    made = time.monotonic()
    cost = (await controller.writes() - writes) / count
    writes = await controller.writes()
    await each(names, lambda name: kube.delete(NODE_CLAIMS, name))
    await gone(kube)
    ended = time.monotonic()
    cost_of_end = (await controller.writes() - writes) / count
    harness.report(f"{count} claims created → all Ready", f"{made - begun:.1f} s", "–")
    harness.report(f"{count} claims deleted → claims and nodes gone", f"{ended - made:.1f} s", "–")
    harness.report("both", f"{ended - begun:.1f} s", "≤ 300 s")
    harness.report(
        "API writes a claim: to Ready, to its end", f"{cost:.1f}, {cost_of_end:.1f}", "–"
    )


async def settled(controller: harness.Controller) -> None:
    """Until three seconds went by without a write."""
    last, since = await controller.writes(), time.monotonic()
    while time.monotonic() - since < 3:
        await asyncio.sleep(0.25)
        if (now := await controller.writes()) != last:
            last, since = now, time.monotonic()


async def idle(kube: Client, controller: harness.Controller, count: int) -> None:
    names = [f"stay{number:04d}" for number in range(count)]
    await each(names, lambda name: kube.create(claim(name)))
    await ready(kube, set(names))
    await settled(controller)
    writes, used = await controller.writes(), controller.usage()
    await asyncio.sleep(IDLE_SECONDS)
    written, usage = await controller.writes() - writes, controller.usage()
    spent = (usage.cpu_seconds - used.cpu_seconds) / IDLE_SECONDS
    harness.report(
        f"writes in {IDLE_SECONDS:.0f} s of idleness, {count} claims", f"{written:.0f}", "0"
    )
    harness.report("CPU meanwhile", f"{spent * 100:.1f} % of a core", "–")
    harness.report("RSS (peak)", f"{usage.rss_mib:.0f} ({usage.peak_rss_mib:.0f}) MiB", "≤ 150 MiB")


async def first_round(controller: harness.Controller, claims: int) -> None:
    """Until every claim has been looked at and nobody waits or works."""
    while True:
        done = await controller.metric("controller_runtime_reconcile_total")
        rounds = sum(n for labels, n in done.items() if "nodeclaim.lifecycle" in labels)
        busy = sum([sum((await controller.metric(part)).values()) for part in PARTS])
        if rounds >= claims and not busy:
            return
        await asyncio.sleep(0.1)


async def restart(kube: Client, plane: Any, claims: int, nodes: int) -> None:
    await each(range(nodes - claims), lambda n: kube.create(node(f"other{n:04d}")))
    begun = time.monotonic()
    controller = harness.Controller("gpu_provisioner", plane.kubeconfig, **SETTINGS)
    try:
        synced = await controller.ready()
        await first_round(controller, claims)
        rounds = time.monotonic() - begun
        await settled(controller)
        usage, written = controller.usage(), await controller.writes()
    finally:
        controller.stop()
    what = f"restart with {nodes} nodes and {claims} claims"
    harness.report(f"{what}: synced", f"{synced:.1f} s", "≤ 20 s")
    harness.report(f"{what}: first round done", f"{rounds:.1f} s", "≤ 20 s")
    harness.report("writes meanwhile", f"{written:.0f}", "0")
    harness.report("RSS (peak)", f"{usage.rss_mib:.0f} ({usage.peak_rss_mib:.0f}) MiB", "≤ 150 MiB")


async def main(plane: Any, claims: int, idle_claims: int, nodes: int) -> None:
    print(harness.machine())
    async with harness.client(plane.kubeconfig) as kube:
        controller = harness.Controller("gpu_provisioner", plane.kubeconfig, **SETTINGS)
        try:
            await controller.ready()
            await come_and_go(kube, controller, claims)
            await idle(kube, controller, idle_claims)
        finally:
            controller.stop()
        await restart(kube, plane, idle_claims, nodes)


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    counts = [*given, *(200, 500, 5000)[len(given) :]]
    with harness.api_server() as control_plane:
        asyncio.run(main(control_plane, *counts))
