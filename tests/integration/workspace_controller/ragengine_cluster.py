"""RAGEngines on a real API server: both controllers, and those who make and start pods, played."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from workspace_cluster import Chronicle, Cluster, Process, eventually

from apis.kaito.v1beta1.ragengine import RAG_ENGINES, RAGEngine
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.clock import Clock
from kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from kube.meta import Manifest
from kube.objects import DEPLOYMENTS, NODES, PODS, SERVICES, Pod, Unstructured
from tests import builders, ragengines
from tests.forgetting import forget
from workspace_controller import controllers
from workspace_controller.informers import Informers
from workspace_controller.raginformers import RagInformers
from workspace_controller.settings import Settings
from workspace_controller.workspace.rollout import is_ready

_PAUSE_SECONDS = 0.05


class RagCluster(Cluster):
    """A namespace in which RAGEngines and Workspaces live."""

    @asynccontextmanager
    async def both(
        self,
        settings: Settings | None = None,
        *,
        dies_after: int | None = None,
        retry: tuple[float, float] = (0.5, 30.0),
    ) -> AsyncIterator[Process]:
        """The two controllers of one process, with one client, while the block runs. `retry`: of
        the informer of RAGEngines, whose kind may not be served."""
        settings = settings or builders.settings()
        clock, events = Clock(), Chronicle()
        async with self._mortal_client(settings) as client:
            client.dies_after = dies_after
            informers = Informers.of(
                client, clock, byo=settings.facts.byo, node_classes=settings.node_classes
            )
            rag = RagInformers.of(client, clock, informers, self.namespace)
            rag.engines._retry = retry
            running = [
                controllers.workspace_controller(
                    client, informers, settings, events, clock, rag=rag
                ),
                controllers.ragengine_controller(client, rag, settings, events, clock),
            ]
            tasks = [asyncio.create_task(each.run()) for each in (*informers.all(), *rag.all())]
            tasks += [asyncio.create_task(each.run()) for each in running]
            try:
                yield Process(client, events)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def create_engine(self, **given: Any) -> None:
        manifest = ragengines.a_manifest(**given)
        manifest["metadata"]["namespace"] = self.namespace
        await self.client.create(manifest)

    async def edit_engine(self, patch: Manifest, name: str = "docs") -> None:
        await self.client.patch(RAG_ENGINES, name, patch, namespace=self.namespace)

    async def engine(self, name: str = "docs") -> RAGEngine:
        found = await self.client.get(RAG_ENGINES, name, self.namespace)
        assert found is not None
        return found

    async def engine_gone(self, name: str = "docs") -> bool:
        return await self.client.get(RAG_ENGINES, name, self.namespace) is None

    async def engine_claims(self, name: str = "docs") -> list[NodeClaim]:
        labels = f"kaito.sh/ragengine={name},kaito.sh/ragenginenamespace={self.namespace}"
        return (await self.client.list(NODE_CLAIMS, labels=labels)).items

    async def engine_claim(self, name: str = "docs") -> NodeClaim:
        async def one() -> bool:
            return len(await self.engine_claims(name)) == 1

        await eventually(one)
        return (await self.engine_claims(name))[0]

    async def deployment(self, name: str = "docs") -> Unstructured | None:
        return await self.client.get(DEPLOYMENTS, name, self.namespace)

    async def endpoint(self, name: str = "docs") -> Unstructured | None:
        return await self.client.get(SERVICES, name, self.namespace)

    async def engine_pods(self, name: str = "docs") -> list[Pod]:
        labels = f"kaito.sh/ragengine={name}"
        return (await self.client.list(PODS, namespace=self.namespace, labels=labels)).items

    async def told(
        self, kind: str, status: str, reason: str, words: str = "", name: str = "docs"
    ) -> RAGEngine:
        """The engine, once its condition is this one."""
        seen: list[RAGEngine] = []

        async def says() -> bool:
            seen[:] = [await self.engine(name)]
            found = seen[0].condition(kind)
            return (found.status, found.reason) == (status, reason) and words in found.message

        try:
            await eventually(says)
        except AssertionError as error:
            lines = "\n".join(
                f"{each.type}={each.status} {each.reason}: {each.message}"
                for each in seen[0].status.conditions
            )
            wanted = f"never {kind}={status} {reason} {words!r}"
            raise AssertionError(f"{wanted}:\n{lines}") from error
        return seen[0]

    async def secret(self, name: str, **data: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        await self.client.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
        )

    async def config_map(self, name: str, **data: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        await self.client.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        )

    async def volume_claim(self, name: str = "indexes", mode: str = "ReadWriteOnce") -> None:
        spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": name, "namespace": self.namespace}
        await self.client.create(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
            | {"spec": spec}
        )

    async def clean_up(self) -> None:
        for engine in (await self.client.list(RAG_ENGINES, namespace=self.namespace)).items:
            name = engine.metadata.name
            for claim in await self.engine_claims(name):
                await self.client.delete(NODES, claim.metadata.name)
                await forget(self.client, NODE_CLAIMS, claim.metadata.name)
            await forget(self.client, RAG_ENGINES, name, self.namespace)
        await super().clean_up()

    async def workspace_gone(self, name: str) -> bool:
        return await self.client.get(WORKSPACES, name, self.namespace) is None


@dataclass
class EnginePods:
    """The Deployment controller, scheduler and kubelet of one engine: a pod for each template, in
    place of or beside its predecessor as the strategy says. `good` pods come up. `unserved` counts
    the moments without one that is ready, once there has been one."""

    cluster: RagCluster
    node: str
    name: str = "docs"
    good: bool = True
    ends: bool = True
    """Whether pods that are deleted end."""
    unserved: int = 0
    served: bool = False
    made: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[EnginePods]:
        await self.cluster.allow_pods()
        task = asyncio.create_task(self._work())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _work(self) -> None:
        while True:
            with suppress(NotFoundError, ConflictError):
                await self._round()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _round(self) -> None:
        pods = {each.metadata.name: each for each in await self.cluster.engine_pods(self.name)}
        for name, pod in pods.items():
            if pod.metadata.deletion_timestamp is not None and self.ends:
                await self.cluster.end_pod(name)
        if any(map(is_ready, pods.values())):
            self.served = True
        elif self.served:
            self.unserved += 1
        found = await self.cluster.deployment(self.name)
        if found is None:
            return
        if found.spec["replicas"] == 0:
            for name in pods:
                await self._delete(name)
            return
        await self._roll(found, pods)
        status = {
            "replicas": len(pods),
            "updatedReplicas": min(1, len(pods)),
            "observedGeneration": found.metadata.generation,
        }
        await self.cluster.client.patch(
            DEPLOYMENTS,
            self.name,
            {"status": status},
            namespace=self.cluster.namespace,
            subresource="status",
        )

    async def _roll(self, found: Unstructured, pods: Mapping[str, Pod]) -> None:
        template = found.spec["template"]
        newest = f"{self.name}-{_hash(template)}"
        older = [name for name in pods if name != newest]
        surge = found.spec["strategy"].get("rollingUpdate", {}).get("maxSurge", 0)
        if newest not in pods:
            if older and not surge:
                for name in older:
                    await self._delete(name)
            else:
                await self._make(newest, template)
        elif not is_ready(pods[newest]):
            await self._start(pods[newest])
        else:
            for name in older:
                await self._delete(name)

    async def _make(self, name: str, template: Manifest) -> None:
        metadata = {**template["metadata"], "name": name, "namespace": self.cluster.namespace}
        spec = {"containers": [{"name": "ragengine", "image": "i"}], "nodeName": self.node}
        with suppress(AlreadyExistsError):
            await self.cluster.client.create(
                {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            )
            self.made.append(name)

    async def _start(self, pod: Pod) -> None:
        if pod.metadata.deletion_timestamp is not None:
            return
        state: Manifest = {"running": {}}
        if not self.good:
            state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        ready = {"type": "Ready", "status": str(self.good), "lastTransitionTime": since}
        container = {"name": "ragengine", "image": "i", "imageID": "", "restartCount": 0}
        await self.cluster.set_pod(
            pod.metadata.name,
            {
                "phase": "Running" if self.good else "Pending",
                "conditions": [ready],
                "containerStatuses": [{**container, "ready": self.good, "state": state}],
            },
        )

    async def _delete(self, name: str) -> None:
        await self.cluster.client.delete(PODS, name, namespace=self.cluster.namespace)


def _hash(template: Manifest) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
