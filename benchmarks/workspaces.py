"""workspace-controller against a real API server: latency, writes, CPU, memory, idleness.

Nodes and their kubelets are played by this script: it marks claims and nodes ready by hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import _harness as harness

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.client import Client
from kube.informer import Informer
from kube.meta import Manifest, Resource
from kube.objects import NODES, STATEFUL_SETS

BULK = 1000
CONNECTIONS = 8
EDITS = 200
IDLE_SECONDS = 20.0


def workspace(name: str) -> Manifest:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"kaito.sh/runtime": "llamacpp", "kaito.sh/use-local-weights": "true"},
        },
        "resource": {
            "instanceType": "local-cpu-2",
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {"preset": {"name": "gemma-3-270m"}},
    }


@asynccontextmanager
async def watching(kube: Client, resource: Resource[Any], **where: str) -> AsyncIterator[Any]:
    informer: Informer[Any] = Informer(kube, resource, **where)
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    try:
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def bring_up(kube: Client, name: str) -> None:
    """Play provisioner and kubelet for one Workspace, and wait for its StatefulSet."""
    await kube.create(workspace(name))
    claims: list[Any] = []
    while not claims:
        await asyncio.sleep(0.02)
        claims = (await kube.list(NODE_CLAIMS, labels=f"kaito.sh/workspace={name}")).items
    claim = claims[0].metadata
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    labels = {**claim.labels, "node.kubernetes.io/instance-type": "local-cpu-2"}
    await kube.create(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": claim.name, "labels": labels},
            "spec": {"providerID": f"local:///{claim.name}"},
        }
    )
    ready = {"lastTransitionTime": now, "status": "True", "message": ""}
    kinds = ("Launched", "Registered", "Initialized", "Ready")
    await kube.patch(
        NODES,
        claim.name,
        {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}},
        subresource="status",
    )
    await kube.patch(
        NODE_CLAIMS,
        claim.name,
        {
            "status": {
                "nodeName": claim.name,
                "providerID": f"local:///{claim.name}",
                "conditions": [{**ready, "type": kind, "reason": kind} for kind in kinds],
            }
        },
        subresource="status",
    )
    while await kube.get(STATEFUL_SETS, name, "default") is None:
        await asyncio.sleep(0.02)


async def edit_latency(kube: Client) -> None:
    """From the answer to an edit of a Workspace until the watch shows its changed StatefulSet."""
    await bring_up(kube, "edited")
    changed: asyncio.Queue[float] = asyncio.Queue()
    async with watching(kube, STATEFUL_SETS, namespace="default") as informer:
        await asyncio.sleep(1)
        informer.subscribe(lambda _old, new: new and changed.put_nowait(time.perf_counter()))
        while not changed.empty():
            changed.get_nowait()
        took = []
        for number in range(EDITS):
            runtime = ("vllm", "llamacpp")[number % 2]
            edit = {"metadata": {"annotations": {"kaito.sh/runtime": runtime}}}
            begun = time.perf_counter()
            await kube.patch(WORKSPACES, "edited", edit, namespace="default")
            took.append(await asyncio.wait_for(changed.get(), 10) - begun)
            await asyncio.sleep(0.02)
    p50, p99 = harness.percentile(took, 0.5), harness.percentile(took, 0.99)
    harness.report("edit of a Workspace → child changed, p50", f"{p50 * 1e3:.1f} ms", "≤ 30 ms")
    harness.report("edit of a Workspace → child changed, p99", f"{p99 * 1e3:.1f} ms", "≤ 100 ms")


async def bulk(kube: Client, controller: harness.Controller) -> None:
    """1,000 Workspaces over 8 connections: how long each waits for its NodeClaim, and the cost."""
    made: dict[str, float] = {}
    claimed: dict[str, float] = {}

    def note(_old: Any, new: Any) -> None:
        if new is not None and (owner := new.metadata.labels.get("kaito.sh/workspace")):
            claimed.setdefault(owner, time.perf_counter())

    writes, before = await controller.writes(), controller.usage()
    async with watching(kube, NODE_CLAIMS) as informer:
        informer.subscribe(note)
        names = iter([f"bulk-{number:04d}" for number in range(BULK)])
        begun = time.perf_counter()

        async def create() -> None:
            for name in names:
                await kube.create(workspace(name))
                made[name] = time.perf_counter()

        await asyncio.gather(*(create() for _ in range(CONNECTIONS)))
        created_in = time.perf_counter() - begun
        while any(name not in claimed for name in made):
            await asyncio.sleep(0.05)
    await settled(controller)
    after = controller.usage()
    waits = [max(0.0, claimed[name] - made[name]) for name in made]
    cost = (await controller.writes() - writes) / BULK
    harness.report(
        f"{BULK} Workspaces in {created_in:.1f} s: NodeClaim after its Workspace, p99",
        f"{harness.percentile(waits, 0.99) * 1e3:.0f} ms",
        "≤ 1 s",
    )
    harness.report("API writes a Workspace", f"{cost:.2f}", "≤ 4")
    spent = after.cpu_seconds - before.cpu_seconds
    harness.report(f"CPU for {BULK} Workspaces", f"{spent:.1f} s", "≤ 15 s")
    harness.report(
        "RSS after it (peak)", f"{after.rss_mib:.0f} ({after.peak_rss_mib:.0f}) MiB", "≤ 120 MiB"
    )


async def settled(controller: harness.Controller) -> None:
    """Until two seconds went by without a write."""
    last, since = await controller.writes(), time.monotonic()
    while time.monotonic() - since < 2:
        await asyncio.sleep(0.25)
        if (now := await controller.writes()) != last:
            last, since = now, time.monotonic()


async def idle(controller: harness.Controller) -> None:
    before, used = await controller.writes(), controller.usage()
    await asyncio.sleep(IDLE_SECONDS)
    written = await controller.writes() - before
    spent = (controller.usage().cpu_seconds - used.cpu_seconds) / IDLE_SECONDS
    harness.report(f"writes in {IDLE_SECONDS:.0f} s of idleness", f"{written:.0f}", "0")
    harness.report("CPU while idle", f"{spent * 100:.1f} % of a core", "–")


async def main(plane: Any) -> None:
    settings = {"CLOUD_PROVIDER": "local", "WEBHOOK_PORT": "0", "HF_HUB_OFFLINE": "1"}
    print(harness.machine())
    async with harness.client(plane.kubeconfig) as kube:
        cold = []
        for _ in range(5):
            controller = harness.Controller("workspace_controller", plane.kubeconfig, **settings)
            cold.append(await controller.ready())
            controller.stop()
        harness.report("cold start to synced, median of 5", f"{sorted(cold)[2]:.2f} s", "≤ 2 s")
        controller = harness.Controller("workspace_controller", plane.kubeconfig, **settings)
        try:
            await controller.ready()
            await edit_latency(kube)
            await bulk(kube, controller)
            await idle(controller)
        finally:
            controller.stop()


if __name__ == "__main__":
    with harness.api_server() as plane:
        asyncio.run(main(plane))
