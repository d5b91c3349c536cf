"""workspace-controller with many Workspaces that serve: writes, memory, and what a restart costs.

Provisioner, kubelets and the StatefulSet controller are played by this script.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import _harness as harness
from workspaces import settled, watching, workspace

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.client import Client
from kube.meta import Manifest, Resource
from kube.objects import NODES, PODS, STATEFUL_SETS, Unstructured

WORKSPACES_AT_REST = 5000
CONNECTIONS = 16
QUIET_SECONDS = 60.0
WHOLE_SETS = Resource("apps", "v1", "StatefulSet", "statefulsets", Unstructured)
SETTINGS = {"CLOUD_PROVIDER": "local", "WEBHOOK_PORT": "0", "HF_HUB_OFFLINE": "1"}


class Played:
    """Those whose part the script plays: each claim gets a node, each set its pod."""

    def __init__(self, kube: Client) -> None:
        self._kube = kube
        self._due: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._claims: set[str] = set()
        self._sets: set[str] = set()

    def claim(self, _old: Any, new: Any) -> None:
        if new is not None and new.metadata.name not in self._claims:
            self._claims.add(new.metadata.name)
            self._due.put_nowait(("claim", new))

    def stateful_set(self, _old: Any, new: Any) -> None:
        if new is not None and new.metadata.name not in self._sets:
            self._sets.add(new.metadata.name)
            self._due.put_nowait(("set", new.metadata.name))

    async def play(self) -> None:
        while True:
            what, found = await self._due.get()
            await (self._bring_up(found) if what == "claim" else self._serve(found))

    async def _bring_up(self, claim: Any) -> None:
        meta = claim.metadata
        labels = {
            **meta.labels,
            "node.kubernetes.io/instance-type": "local-cpu-2",
            "karpenter.sh/registered": "true",
        }
        provider = f"local:///{meta.name}"
        node: Manifest = {"name": meta.name, "labels": labels}
        await self._kube.create(
            {"apiVersion": "v1", "kind": "Node", "metadata": node, "spec": {"providerID": provider}}
        )
        up = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
        await self._status(NODES, meta.name, {"conditions": [up]})
        kinds = ("Launched", "Registered", "Initialized", "Ready")
        conditions = [{**condition(), "type": kind, "reason": kind} for kind in kinds]
        told = {"nodeName": meta.name, "providerID": provider, "conditions": conditions}
        await self._status(NODE_CLAIMS, meta.name, told)

    async def _serve(self, name: str) -> None:
        found = await self._kube.get(WHOLE_SETS, name, "default")
        assert found is not None
        template = found.spec["template"]
        metadata = {**template["metadata"], "name": f"{name}-0", "namespace": "default"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        await self._kube.create(pod)
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
        status = {"phase": "Running", "conditions": [{**condition(), **ready}]}
        await self._status(PODS, f"{name}-0", status, "default")
        counts = {"replicas": 1, "readyReplicas": 1, "observedGeneration": 1}
        await self._status(STATEFUL_SETS, name, counts, "default")

    async def _status(self, kind: Any, name: str, status: Manifest, namespace: str = "") -> None:
        await self._kube.patch(
            kind, name, {"status": status}, namespace=namespace, subresource="status"
        )


def condition() -> Manifest:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"lastTransitionTime": now, "status": "True", "message": ""}


async def populate(kube: Client, controller: harness.Controller, count: int) -> None:
    """So many Workspaces, until all of them serve."""
    played, ready = Played(kube), set[str]()

    def seen(_old: Any, new: Any) -> None:
        if new is not None and new.status.state == "Ready":
            ready.add(new.metadata.name)

    async with (
        watching(kube, NODE_CLAIMS) as claims,
        watching(kube, STATEFUL_SETS) as sets,
        watching(kube, WORKSPACES) as workspaces,
    ):
        workspaces.subscribe(seen)
        claims.subscribe(played.claim)
        sets.subscribe(played.stateful_set)
        players = [asyncio.create_task(played.play()) for _ in range(CONNECTIONS)]
        try:
            names = iter([f"rest-{number:05d}" for number in range(count)])

            async def create() -> None:
                for name in names:
                    await kube.create(workspace(name))

            await asyncio.gather(*(create() for _ in range(CONNECTIONS)))
            while len(ready) < count:
                for player in players:
                    if player.done():
                        player.result()
                await asyncio.sleep(2)
        finally:
            for player in players:
                player.cancel()
            await asyncio.gather(*players, return_exceptions=True)
    await settled(controller)


async def rest(controller: harness.Controller, count: int) -> None:
    before, used = await controller.writes(), controller.usage()
    await asyncio.sleep(QUIET_SECONDS)
    written = await controller.writes() - before
    usage = controller.usage()
    spent = (usage.cpu_seconds - used.cpu_seconds) / QUIET_SECONDS
    what = f"{count} Workspaces at rest"
    harness.report(f"{what}: writes in {QUIET_SECONDS:.0f} s", f"{written:.0f}", "0")
    harness.report(f"{what}: CPU", f"{spent * 100:.1f} % of a core", "–")
    harness.report(f"{what}: RSS, having made them", f"{usage.rss_mib:.0f} MiB", "–")


async def restart(plane: Any, count: int) -> None:
    begun = time.monotonic()
    controller = harness.Controller("workspace_controller", plane.kubeconfig, **SETTINGS)
    try:
        synced = await controller.ready()
        while await rounds(controller) < count:
            await asyncio.sleep(0.1)
        done = time.monotonic() - begun
        await settled(controller)
        written, usage = await controller.writes(), controller.usage()
    finally:
        controller.stop()
    what = f"restart with {count} Workspaces"
    harness.report(f"{what}: synced", f"{synced:.1f} s", "–")
    harness.report(f"{what}: first round of all done", f"{done:.1f} s", "≤ 60 s")
    harness.report(f"{what}: writes", f"{written:.0f}", "0")
    harness.report(
        f"{what}: RSS (peak)", f"{usage.rss_mib:.0f} ({usage.peak_rss_mib:.0f}) MiB", "≤ 300 MiB"
    )


async def rounds(controller: harness.Controller) -> float:
    done = await controller.metric("controller_runtime_reconcile_total")
    return sum(count for labels, count in done.items() if 'controller="workspace"' in labels)


async def main(plane: Any, count: int) -> None:
    print(harness.machine())
    async with harness.client(plane.kubeconfig) as kube:
        account = {"name": "default", "namespace": "default"}  # no controller makes it here
        await kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        controller = harness.Controller("workspace_controller", plane.kubeconfig, **SETTINGS)
        try:
            await controller.ready()
            await populate(kube, controller, count)
            await rest(controller, count)
        finally:
            controller.stop()
    await restart(plane, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspaces", type=int, default=WORKSPACES_AT_REST)
    asked = parser.parse_args()
    with harness.api_server() as plane:
        asyncio.run(main(plane, asked.workspaces))
