"""The workspace controller on a real API server: a user's hands, and the other controllers'."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from apis.kaito.v1beta1.labels import BENCHMARK_LABEL
from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube import config
from kube.client import Client
from kube.clock import Clock
from kube.errors import AlreadyExistsError
from kube.meta import Manifest, ObjectMeta, Resource
from kube.objects import NODES, PODS, SERVICES, Pod, Unstructured
from presets import fetch
from tests import builders
from tests.forgetting import forget
from workspace_controller import pools
from workspace_controller.controllers import workspace_controller
from workspace_controller.informers import STATEFUL_SETS, Informers
from workspace_controller.models import ModelSource
from workspace_controller.nodeclasses import NodeClassInstaller
from workspace_controller.podlogs import PodLogs
from workspace_controller.settings import Settings
from workspace_controller.workspace.fieldowners import FIELD_MANAGER

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", Unstructured, namespaced=False)
SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts", Unstructured)
_PATIENCE_SECONDS = 15.0


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)


class DeadError(Exception):
    """The process has been killed: whatever it still tries does not happen."""


class MortalClient(Client):
    """A client that remembers its writes, and dies after a given number of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.writes: list[str] = []
        self.dies_after: int | None = None

    def _write(self, what: str) -> None:
        if self.dies_after is not None and len(self.writes) >= self.dies_after:
            raise DeadError(what)
        self.writes.append(what)

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        self._write(f"create {manifest['kind']}")
        return await super().create(manifest, dry_run=dry_run)

    async def apply(self, manifest: Manifest, *, force: bool = True) -> Manifest:
        self._write(f"apply {manifest['kind']} {manifest['metadata']['name']}")
        return await super().apply(manifest, force=force)

    async def patch(self, resource: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        part = kwargs.get("subresource") or "metadata"
        self._write(f"patch {resource.kind} {part}")
        return await super().patch(resource, name, *args, **kwargs)

    async def delete(self, resource: Any, name: str, *args: Any, **kwargs: Any) -> None:
        self._write(f"delete {resource.kind}")
        await super().delete(resource, name, *args, **kwargs)


class Chronicle:
    """Takes down events instead of writing them."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def event(
        self, resource: object, metadata: ObjectMeta, type_: str, reason: str, message: str
    ) -> None:
        self.told.append((type_, reason))


class Process:
    """A running controller."""

    def __init__(self, client: MortalClient, events: Chronicle) -> None:
        self.client = client
        self.events = events

    @property
    def writes(self) -> list[str]:
        return self.client.writes

    async def quiet(self) -> None:
        """Until no write has happened for a while."""
        known = -1
        while known != len(self.writes):
            known = len(self.writes)
            await asyncio.sleep(0.4)

    async def dead_or_done(self, writes: int) -> bool:
        """The last write that it lives to make is made; or it had less to write than that."""
        if len(self.writes) >= writes:
            return True
        before = len(self.writes)
        await asyncio.sleep(1.0)
        return len(self.writes) == before


class Cluster:
    """The API server as tests see it: a user's hands, and the other controllers'."""

    def __init__(self, kubeconfig: Path, client: Client, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.client = client
        self.namespace = namespace

    @asynccontextmanager
    async def controller(
        self,
        settings: Settings | None = None,
        *,
        dies_after: int | None = None,
        hub: str = "",
    ) -> AsyncIterator[Process]:
        """A controller that runs while the block does; `hub` stands in for Hugging Face."""
        settings = settings or builders.settings()
        clock = Clock()
        async with self._mortal_client(settings) as client:
            client.dies_after = dies_after
            informers = Informers.of(
                client, clock, byo=settings.facts.byo, node_classes=settings.node_classes
            )
            events = Chronicle()
            models = None
            if hub:
                models = ModelSource(
                    client, settings.catalog, clock, fetch.Hub(hub, sleep=_at_once)
                )
            logs = PodLogs(client, informers.pods.store, clock)
            controller = workspace_controller(
                client, informers, settings, events, clock, models, logs
            )
            tasks = [asyncio.create_task(informer.run()) for informer in informers.all()]
            tasks.append(asyncio.create_task(controller.run()))
            tasks.append(asyncio.create_task(logs.run()))
            if informers.pooled and informers.pooled.classes and settings.node_classes:
                classes = NodeClassInstaller(
                    client, informers.pooled.classes, settings.node_classes
                )
                tasks.append(asyncio.create_task(classes.run()))
            try:
                yield Process(client, events)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if models is not None:
                    await models.close()

    def _mortal_client(self, settings: Settings) -> MortalClient:
        return MortalClient(
            config.kubeconfig(str(self.kubeconfig)),
            field_manager=FIELD_MANAGER,
            kinds=(WORKSPACES, RAG_ENGINES, NODE_CLAIMS, *pools.kinds(settings.node_classes)),
        )

    async def workspace(self, name: str = "falcon") -> Workspace:
        found = await self.client.get(WORKSPACES, name, self.namespace)
        assert found is not None
        return found

    async def create_workspace(self, **given: Any) -> None:
        manifest = builders.a_workspace_manifest(**given)
        manifest["metadata"]["namespace"] = self.namespace
        await self.client.create(manifest)

    async def deploy(self, **given: Any) -> None:
        """A Workspace with its nodes and its StatefulSet, of which nobody has made a pod yet."""
        await self.create_workspace(**given)
        await eventually(self.claimed)
        for claim in await self.claims():
            await self.bring_up(claim, gpus=2)
        await eventually(self.stateful_set)

    async def claimed(self) -> bool:
        """Whether there are as many claims as nodes are needed."""
        target = (await self.workspace()).status.target_node_count
        return target > 0 and len(await self.claims()) == target

    async def succeeded(self) -> bool:
        return (await condition(self, "WorkspaceSucceeded"))[0] == "True"

    async def claims(self, name: str = "falcon") -> list[NodeClaim]:
        labels = f"kaito.sh/workspace={name},kaito.sh/workspacenamespace={self.namespace}"
        return (await self.client.list(NODE_CLAIMS, labels=labels)).items

    async def stateful_set(self, name: str = "falcon") -> Unstructured | None:
        return await self.client.get(STATEFUL_SETS, name, self.namespace)

    async def service(self, name: str) -> Unstructured | None:
        return await self.client.get(SERVICES, name, self.namespace)

    async def bring_up(self, claim: NodeClaim, *, gpus: int = 1) -> str:
        """What a provisioner and a kubelet do: a ready Node, and a claim that says so."""
        name = claim.metadata.name
        types = {r.key: r.values[0] for r in claim.spec.requirements if r.values}
        labels = {**claim.metadata.labels, **types, "karpenter.sh/registered": "true"}
        await self.ready_node(name, labels, gpus=gpus)
        await self.set_claim(claim, {"nodeName": name}, "Launched", "Registered", "Initialized")
        return name

    async def ready_node(self, name: str, labels: dict[str, str], *, gpus: int) -> None:
        metadata = {"name": name, "labels": labels}
        await self.client.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        amounts = {"cpu": "4", "memory": "12Gi"}
        if gpus:
            amounts["nvidia.com/gpu"] = str(gpus)
        up = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
        status = {"conditions": [up], "allocatable": amounts, "capacity": amounts}
        await self.client.patch(NODES, name, {"status": status}, subresource="status")

    async def set_node(
        self, name: str, *, ready: bool = True, pressure: tuple[str, ...] = (), gpus: int = 1
    ) -> None:
        """What the kubelet of a node says of it."""
        up = {"type": "Ready", "status": str(ready), "reason": "", "message": ""}
        pressed = [{"type": each, "status": "True", "reason": ""} for each in pressure]
        status = {"conditions": [up, *pressed], "allocatable": {"nvidia.com/gpu": str(gpus)}}
        await self.client.patch(NODES, name, {"status": status}, subresource="status")

    async def create_config(self) -> None:
        await self.client.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "options", "namespace": self.namespace},
                "data": {"inference_config.yaml": "vllm:\n  max-model-len: 2048\n"},
            }
        )

    async def set_claim(self, claim: NodeClaim, fields: Manifest, *true: str) -> None:
        kinds = (*true, *(("Ready",) if len(true) == 3 else ()))
        conditions = [_told(kind, "True", kind) for kind in kinds]
        patch = {"status": {**fields, **({"conditions": conditions} if conditions else {})}}
        await self.client.patch(NODE_CLAIMS, claim.metadata.name, patch, subresource="status")

    async def complain(
        self, claim: NodeClaim, reason: str, message: str, stage: str = "Launched"
    ) -> None:
        """What a provisioner says of a claim that has not come past this stage."""
        stages = ("Launched", "Registered", "Initialized")
        passed = [_told(each, "True", each) for each in stages[: stages.index(stage)]]
        patch = {"status": {"conditions": [*passed, _told(stage, "Unknown", reason, message)]}}
        await self.client.patch(NODE_CLAIMS, claim.metadata.name, patch, subresource="status")

    async def serve(self, name: str = "falcon") -> None:
        """What the StatefulSet controller and kubelets do: its pods, all of them ready."""
        found = await self.stateful_set(name)
        assert found is not None
        replicas = found.spec["replicas"]
        members = [f"{name}-{ordinal}" for ordinal in range(replicas)]
        for pod in await self.pods(name):
            await self.end_pod(pod.metadata.name)
        for member in members:
            await self.make_pod(member, found)
            await self.set_pod(member, {"phase": "Running", "conditions": [_told("Ready", "True")]})
        status = {
            "replicas": replicas,
            "readyReplicas": replicas,
            "observedGeneration": found.metadata.generation,
        }
        await self.client.patch(
            STATEFUL_SETS, name, {"status": status}, namespace=self.namespace, subresource="status"
        )

    async def pods(self, name: str = "falcon") -> list[Pod]:
        """Those of its StatefulSet, in their order."""
        found = (await self.client.list(PODS, namespace=self.namespace)).items
        members = (each for each in found if re.fullmatch(rf"{name}-\d+", each.metadata.name))
        return sorted(members, key=lambda pod: pod.metadata.name)

    async def benchmarks(self, name: str = "falcon") -> list[Pod]:
        labels = f"{BENCHMARK_LABEL}={name}"
        return (await self.client.list(PODS, namespace=self.namespace, labels=labels)).items

    async def make_pod(
        self, name: str, of: Unstructured, *, labels: Mapping[str, str] | None = None
    ) -> None:
        """A pod of the StatefulSet, which nobody has placed yet; with other labels, if given."""
        template = of.spec["template"]["metadata"]
        metadata = {
            "name": name,
            "namespace": self.namespace,
            "labels": {**template["labels"], "pod-name": name, **(labels or {})},
            "annotations": template.get("annotations", {}),
        }
        await self.allow_pods()
        spec = {"containers": [{"name": "falcon", "image": "i"}]}
        await self.client.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        )

    async def allow_pods(self) -> None:
        """The account that every pod needs, which a controller makes elsewhere."""
        metadata = {"name": "default", "namespace": self.namespace}
        with suppress(AlreadyExistsError):
            await self.client.create(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
            )

    async def touch_in_vain(self, process: Process) -> None:
        """A round that has nothing to do writes nothing."""
        await process.quiet()
        before = len(process.writes)
        await self.edit({"metadata": {"labels": {"touched": "yes"}}})
        await process.quiet()
        assert process.writes[before:] == []

    async def set_pod(self, name: str, status: Manifest) -> None:
        await self.client.patch(
            PODS, name, {"status": status}, namespace=self.namespace, subresource="status"
        )

    async def place_pod(self, name: str, node: str = "machine") -> None:
        """What a scheduler does that has found room."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"metadata": {"name": name}, "target": target}
        await self.client.post(
            PODS,
            name,
            "binding",
            {"apiVersion": "v1", "kind": "Binding", **binding},
            namespace=self.namespace,
        )

    async def end_pod(self, name: str) -> None:
        """What a kubelet does once the containers have ended."""
        await self.client.delete(PODS, name, namespace=self.namespace, grace_period_seconds=0)

    @asynccontextmanager
    async def refusing(self, message: str) -> AsyncIterator[list[str]]:
        """A provisioner without capacity: says so on each claim and deletes it. The names."""
        refused: list[str] = []
        task = asyncio.create_task(self._refuse(message, refused))
        try:
            yield refused
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _refuse(self, message: str, refused: list[str]) -> None:
        why = _told("Launched", "Unknown", "InsufficientCapacity", message)
        status = {"status": {"conditions": [why]}}
        start = (await self.client.list(NODE_CLAIMS)).resource_version
        stream = self.client.watch(NODE_CLAIMS, resource_version=start, timeout_seconds=60)
        async for kind, claim, _ in stream:
            if kind == "ADDED" and claim is not None:
                name = claim.metadata.name
                refused.append(name)
                await self.client.patch(NODE_CLAIMS, name, status, subresource="status")
                await self.client.delete(NODE_CLAIMS, name)

    async def edit(self, patch: Manifest, name: str = "falcon") -> None:
        await self.client.patch(WORKSPACES, name, patch, namespace=self.namespace)

    async def one_claim(self) -> NodeClaim:
        """The one claim that there must be, once it is there."""
        await eventually(lambda: self._count_claims(1))
        return (await self.claims())[0]

    async def clean_up(self) -> None:
        """Nothing that a later test's controller would take for its business."""
        for workspace in (await self.client.list(WORKSPACES, namespace=self.namespace)).items:
            name = workspace.metadata.name
            for claim in await self.claims(name):
                await self.client.delete(NODES, claim.metadata.name)
                await forget(self.client, NODE_CLAIMS, claim.metadata.name)
            await forget(self.client, WORKSPACES, name, self.namespace)

    async def _count_claims(self, count: int) -> bool:
        return len(await self.claims()) == count


def _told(kind: str, status: str, reason: str = "", message: str = "") -> Manifest:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-21T12:00:00Z",
    }


async def eventually(ask: Callable[[], Awaitable[object]]) -> None:
    """Wait until the answer is true; AssertionError where it never is."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while not await ask():
        assert asyncio.get_running_loop().time() < deadline, "it never became true"
        await asyncio.sleep(0.03)


async def condition(cluster: Cluster, kind: str, name: str = "falcon") -> tuple[str, str]:
    found = (await cluster.workspace(name)).condition(kind)
    return found.status, found.reason
