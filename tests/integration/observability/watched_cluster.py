"""Both controllers as processes on a real API server, and what happens in their cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import yaml

import apis
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube.client import Client
from kube.errors import AlreadyExistsError
from kube.meta import Manifest, Resource
from kube.objects import (
    CUSTOM_RESOURCE_DEFINITIONS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    Unstructured,
)
from tests import builders
from tests.fakes import objects

TEAM = "observed-team"
SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts", Unstructured)
STATEFUL_SETS = Resource("apps", "v1", "StatefulSet", "statefulsets", Unstructured)
KINDS = (WORKSPACES, NODE_CLAIMS, NODE_POOLS, SERVICE_ACCOUNTS)
KWOK = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
_PATIENCE = 30.0


async def eventually(ask: Callable[[], Awaitable[Any]], seconds: float = _PATIENCE) -> Any:
    """The first answer that is true; AssertionError where none comes."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := await ask()):
        assert asyncio.get_running_loop().time() < deadline, "it never became true"
        await asyncio.sleep(0.1)
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def answers(url: str) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


@asynccontextmanager
async def process(
    command: list[str], environment: Mapping[str, str], ready: str, log: Path
) -> AsyncIterator[None]:
    """Runs while the block does; `ready` answers once it does, `log` has what it said."""
    with log.open("wb") as said:
        started = await asyncio.create_subprocess_exec(
            *command, env={"PATH": os.environ["PATH"], **environment}, stdout=said, stderr=said
        )
    try:
        await eventually(lambda: answers(ready))
        yield
        started.send_signal(signal.SIGTERM)
        await asyncio.wait_for(started.wait(), 20)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


@asynccontextmanager
async def controller(
    module: str, kubeconfig: Path, folder: Path, **more: str
) -> AsyncIterator[int]:
    """The port of its metrics."""
    metrics, health = free_port(), free_port()
    environment = {
        "CLOUD_PROVIDER": "kwok",
        "KUBECONFIG": str(kubeconfig),
        "METRICS_PORT": str(metrics),
        "HEALTH_PROBE_PORT": str(health),
        "POD_NAMESPACE": TEAM,
        "POD_NAME": module,
        "LEADER_ELECT": "true",
        "HF_HUB_OFFLINE": "1",
        "WEBHOOK": "false",
        "DEBUG_PORT": "0",
        **more,
    }
    command = [sys.executable, "-m", module]
    async with process(
        command, environment, f"http://127.0.0.1:{health}/readyz", folder / f"{module}.log"
    ):
        yield metrics


class World:
    """What users, kubelets and the StatefulSet controller do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def install(self) -> None:
        for file in sorted((Path(apis.__file__).parent / "crds").glob("*.yaml")):
            manifest = yaml.safe_load(file.read_text())
            await self._client.apply(manifest)
            await eventually(lambda name=manifest["metadata"]["name"]: self._established(name))
        await self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
        await self.create(_namespaced("v1", "ServiceAccount", "default"))

    async def _established(self, name: str) -> bool:
        found = await self._client.get(CUSTOM_RESOURCE_DEFINITIONS, name)
        told = (found.status.get("conditions") if found else None) or []
        return any(each["type"] == "Established" and each["status"] == "True" for each in told)

    async def create(self, manifest: Manifest) -> None:
        try:
            await self._client.create(manifest)
        except AlreadyExistsError:
            return

    async def claim(self, name: str, instance_type: str) -> None:
        await self.create(
            objects.claim_manifest(name, node_class_ref=KWOK, instance_type=instance_type)
        )

    async def pool(self) -> None:
        """A static pool with limits."""
        template = objects.claim_manifest("x", node_class_ref=KWOK, instance_type="kwok-cpu-4")
        spec = {each: template["spec"][each] for each in ("nodeClassRef", "requirements")}
        await self.create(
            {
                "apiVersion": "karpenter.sh/v1",
                "kind": "NodePool",
                "metadata": {"name": "observed-pool"},
                "spec": {
                    "replicas": 1,
                    "limits": {"nodes": "4"},
                    "template": {"spec": spec},
                },
            }
        )

    async def workspace(self, name: str) -> None:
        manifest = builders.a_workspace_manifest(
            name=name,
            preset="gemma-3-270m",
            instance_type="kwok-a10-1",
            annotations={"kaito.sh/use-local-weights": "true"},
        )
        manifest["metadata"]["namespace"] = TEAM
        await self.create(manifest)

    async def volume(self, workspace: str) -> None:
        manifest = _namespaced("v1", "PersistentVolumeClaim", f"weights-{workspace}")
        manifest["metadata"]["labels"] = {"kaito.sh/workspace": workspace}
        manifest["spec"] = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "40Gi"}},
        }
        await self.create(manifest)

    async def serve(self, name: str) -> None:
        """A pod of the Workspace's StatefulSet, as it is once its engine answers."""
        found = await eventually(lambda: self._client.get(STATEFUL_SETS, name, TEAM))
        claims = (await self._client.list(NODE_CLAIMS, labels=f"kaito.sh/workspace={name}")).items
        node, pod = claims[0].status.node_name, f"{name}-0"
        manifest = _namespaced("v1", "Pod", pod)
        manifest["metadata"] |= {
            key: found.spec["template"]["metadata"].get(key, {})
            for key in ("labels", "annotations")
        }
        manifest["spec"] = {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "engine", "image": "i"}],
        }
        await self.create(manifest)
        await self._client.patch(
            PODS, pod, {"status": _served()}, namespace=TEAM, subresource="status"
        )
        status = {
            "replicas": 1,
            "readyReplicas": 1,
            "observedGeneration": found.metadata.generation,
        }
        await self._client.patch(
            STATEFUL_SETS, name, {"status": status}, namespace=TEAM, subresource="status"
        )

    async def started(self, name: str) -> dict[str, str]:
        """The stages that its status tells of, once it does."""

        async def told() -> dict[str, str]:
            found = await self._client.get(WORKSPACES, name, TEAM)
            start = found.status.cold_start if found else None
            return start.stages if start else {}

        return dict(await eventually(told))

    async def ready(self, claim: str) -> None:
        async def is_ready() -> bool:
            found = await self._client.get(NODE_CLAIMS, claim)
            return found is not None and found.is_true("Ready")

        await eventually(is_ready)

    async def gone(self, claim: str) -> None:
        async def is_gone() -> bool:
            return await self._client.get(NODE_CLAIMS, claim) is None

        await eventually(is_gone)

    async def delete_claim(self, name: str) -> None:
        await self._client.delete(NODE_CLAIMS, name)
        await self.gone(name)

    async def clean_up(self) -> None:
        """While the controllers still run: what they made they take away."""
        for name in ("falcon", "llama"):
            await self._client.delete(WORKSPACES, name, namespace=TEAM)
            await self._client.delete(PODS, f"{name}-0", namespace=TEAM, grace_period_seconds=0)
        await self._client.delete(NODE_POOLS, "observed-pool")
        for each in (await self._client.list(NODE_CLAIMS)).items:
            await self._client.delete(NODE_CLAIMS, each.metadata.name)
        await eventually(self._empty)
        await self._client.delete(PERSISTENT_VOLUME_CLAIMS, "weights-falcon", namespace=TEAM)

    async def _empty(self) -> bool:
        kinds = (WORKSPACES, NODE_CLAIMS, NODES)
        return not [each for kind in kinds for each in (await self._client.list(kind)).items]


def _namespaced(version: str, kind: str, name: str) -> Manifest:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": TEAM},
    }


def _served() -> Manifest:
    """Placed a while after now, to be later than all that was asked for: the image takes 10 s, the
    weights 20, the engine 30."""
    now = datetime.now(UTC).replace(microsecond=0)

    def later(seconds: int) -> str:
        return f"{now + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"

    fetched = {"exitCode": 0, "startedAt": later(9), "finishedAt": later(29)}
    of = {"image": "i", "imageID": "", "ready": True, "restartCount": 0}
    return {
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": later(0)},
            {"type": "Ready", "status": "True", "lastTransitionTime": later(60)},
        ],
        "initContainerStatuses": [{"name": "weights", **of, "state": {"terminated": fetched}}],
        "containerStatuses": [
            {"name": "engine", **of, "state": {"running": {"startedAt": later(30)}}}
        ],
    }


@asynccontextmanager
async def both(kubeconfig: Path, folder: Path) -> AsyncIterator[dict[str, int]]:
    """The ports of their metrics, by job."""
    async with AsyncExitStack() as stack:
        yield {
            "gpu-provisioner": await stack.enter_async_context(
                controller(
                    "gpu_provisioner",
                    kubeconfig,
                    folder,
                    KWOK_BOOT_SECONDS="1.5",
                    KWOK_SOLD_OUT="kwok-h100-8",
                )
            ),
            "workspace": await stack.enter_async_context(
                controller("workspace_controller", kubeconfig, folder)
            ),
        }
