"""Machines of the emulator that join a real API server: kubelets and cloud controller, played."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec

from kube.client import Client
from kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from kube.objects import NODES
from tests.fakes import objects
from tests.fakes.aws import kubelets
from tests.fakes.aws.emulator import Emulator

LOOK_SECONDS = 0.1
NOT_READY = "node.kubernetes.io/not-ready"


class Kubelets:
    """An async context manager: while it is open, machines that run have a Node that is Ready,
    with as many GPUs as are given; Nodes of machines that are gone go."""

    def __init__(self, emulator: Emulator, client: Client, *, gpus: int = 1) -> None:
        self._emulator = emulator
        self._client = client
        self._gpus = gpus
        self._running: asyncio.Task[None] | None = None
        self.joined: dict[str, str] = {}
        """Provider id → name of the Node."""

    async def __aenter__(self) -> Kubelets:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            there = {boot.provider_id: boot for boot in await self._booted()}
            for boot in [each for id, each in there.items() if id not in self.joined]:
                await self._join(boot)
                self.joined[boot.provider_id] = boot.name
            for id in set(self.joined) - set(there):
                with suppress(NotFoundError):
                    await self._client.delete(NODES, self.joined[id])
                del self.joined[id]
            await asyncio.sleep(LOOK_SECONDS)

    async def _booted(self) -> list[kubelets.Boot]:
        """Instances that run, and those of node groups that are ACTIVE."""
        running = {each["InstanceId"] for each in await self._emulator.machines()}
        groups = self._emulator.groups
        return [
            *(
                kubelets.boot(launched)
                for id, launched in list(self._emulator.launched().items())
                if id in running
            ),
            *(
                kubelets.of_group(plan.wire, plan.zone)
                for name, plan in groups.standing().items()
                if groups.status(name) == "ACTIVE"
            ),
        ]

    async def _join(self, boot: kubelets.Boot) -> None:
        node = objects.node_manifest(
            boot.provider_id,
            boot.name,
            taints=boot.taints,
            labels=dict(boot.labels),
            allocatable={"cpu": "4", "memory": "14Gi", "nvidia.com/gpu": str(self._gpus)},
        )
        with suppress(AlreadyExistsError):
            await self._client.create(node)
        await self._client.patch(NODES, boot.name, {"status": node["status"]}, subresource="status")
        while not await self._ready(boot.name):
            await asyncio.sleep(0)

    async def _ready(self, name: str) -> bool:
        """The node lifecycle controller's part: the API server taints new nodes not-ready. False
        where somebody else wrote the Node at the same time."""
        node = await self._client.get(NODES, name)
        if node is None:
            return True
        taints = [each for each in node.spec.taints if each.key != NOT_READY]
        patch = {
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "spec": {"taints": msgspec.to_builtins(taints)},
        }
        try:
            await self._client.patch(NODES, name, patch)
        except ConflictError:
            return False
        return True
