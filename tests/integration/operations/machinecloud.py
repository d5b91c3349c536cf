"""A cloud outside of the processes that order from it: the machines API of the local cluster, slow,
and counting. Instead of kubelets the machines have Nodes that are up at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler

from kube.client import Client
from kube.errors import AlreadyExistsError
from kube.meta import Manifest
from kube.objects import NODES
from localcluster.instancetypes import Faults, InstanceType, InstanceTypes
from localcluster.machined import ensure_token, make_app
from localcluster.machines import Machine, MachineStore
from localcluster.machineservice import MachineService
from localcluster.processes import ProcessId


class MachineCloud:
    """Its machines, and how often each was ordered, made and given back."""

    def __init__(self, service: MachineService, slow: float) -> None:
        self._service = service
        self._slow = slow
        self.made: Counter[str] = Counter()
        self.given_back: Counter[str] = Counter()
        self.orders = 0
        self.url = ""
        self.token_file = Path()

    @property
    def machines(self) -> dict[str, Machine]:
        return {machine.name: machine for machine in self._service.list()}

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CLOUD_PROVIDER": "local",
            "LOCAL_MACHINES_URL": self.url,
            "LOCAL_MACHINES_TOKEN_FILE": str(self.token_file),
        }

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """An order takes its time and then holds, whether or not somebody still waits for it."""
        if request.method == "PUT":
            self.orders += 1
            await asyncio.sleep(self._slow)
        answer = await handler(request)
        name = request.match_info.get("name", "")
        if request.method == "PUT" and answer.status == 201:
            self.made[name] += 1
        if request.method == "DELETE":
            self.given_back[name] += 1
        return answer


class _Node:
    """A machine's node, which is up as soon as the machine is."""

    process = ProcessId(1, 1)

    def __init__(
        self, client: Client, loop: asyncio.AbstractEventLoop, machine: Machine, kind: InstanceType
    ) -> None:
        self._client = client
        self._loop = loop
        self._machine = machine
        self._kind = kind

    def start(self) -> None:
        joining = _join(self._client, self._machine, self._kind)
        asyncio.run_coroutine_threadsafe(joining, self._loop).result(60)

    def remove(self) -> None:
        """The Node goes with its claim."""

    def set_gpu_health(self, healthy: bool) -> None:
        raise NotImplementedError


async def _join(client: Client, machine: Machine, kind: InstanceType) -> None:
    unregistered = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}
    asked = [{"key": t.key, "value": t.value, "effect": t.effect} for t in machine.taints]
    taints = [*asked, *([] if unregistered["key"] in {t["key"] for t in asked} else [unregistered])]
    node: Manifest = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": machine.name, "labels": machine.labels},
        "spec": {"taints": taints},
    }
    amounts = {"cpu": str(kind.cpus), "memory": f"{kind.memory_gib:g}Gi", "pods": "110"}
    amounts |= {"ephemeral-storage": "500Gi"}
    if kind.gpu is not None:
        amounts["nvidia.com/gpu"] = str(kind.gpu.count)
    up = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    status = {"conditions": [up], "capacity": amounts, "allocatable": amounts}
    with suppress(AlreadyExistsError):
        await client.create(node)
    await client.patch(NODES, machine.name, {"status": status}, subresource="status")
    # The API server taints each new Node not-ready, and a node lifecycle controller takes it off.
    # Only with its provider id is the Node anybody's: whoever registers it writes taints, too.
    spec = {"taints": taints, "providerID": machine.provider_id}
    await client.patch(NODES, machine.name, {"spec": spec})


@asynccontextmanager
async def machine_cloud(
    client: Client, folder: Path, *, slow: float = 0.0, boot_seconds: float = 0.0
) -> AsyncIterator[MachineCloud]:
    """`slow`: seconds that an order takes; `boot_seconds`: until the machine's Node is there."""
    loop = asyncio.get_running_loop()
    types = InstanceTypes(folder / "types.json")
    for kind in types.list():
        types.change(kind.name, Faults(boot_seconds=boot_seconds))
    service = MachineService(
        MachineStore(folder / "machines"),
        types,
        lambda machine, kind: _Node(client, loop, machine, kind),
    )
    cloud = MachineCloud(service, slow)
    cloud.token_file = folder / "token"
    app = make_app(service, ensure_token(cloud.token_file))
    app.middlewares.append(cloud.count)
    async with TestServer(app) as server:
        cloud.url = str(server.make_url("")).rstrip("/")
        yield cloud
        await service.close()
