"""Provisioners that run against the real API server, and the clouds beneath them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml

import apis
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS
from cloudproviders.provider import CloudProvider, Instance
from gpu_provisioner.controllers import controllers
from gpu_provisioner.settings import Timings
from gpu_provisioner.shared import Caches, Shared
from kube import config
from kube.client import Client
from kube.clock import Clock
from kube.errors import AlreadyExistsError
from kube.manager import Manager
from kube.meta import Manifest, Resource
from kube.objects import NODES, PODS, Node, Unstructured
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud
from tests.fakes.events import Events

CRDS: Resource[Unstructured] = Resource(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    Unstructured,
    namespaced=False,
)
BUDGETS: Resource[Unstructured] = Resource(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", Unstructured
)
ACCOUNTS: Resource[Unstructured] = Resource(
    "", "v1", "ServiceAccount", "serviceaccounts", Unstructured
)
KINDS = [NODE_CLAIMS, NODE_POOLS, CRDS, BUDGETS, ACCOUNTS]

QUICK = Timings(instance_poll=0.05, drain_poll=0.05, drain_poll_cap=0.2, min_drain=0.0)

T = TypeVar("T")


class BootingCloud(FakeCloud):
    """A fake cloud whose machines join the cluster by themselves, Ready at once."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self.deletes: list[bool] = []
        """Of every delete: whether the Node still existed."""

    async def create(self, claim: NodeClaim, /) -> Instance:
        instance = await super().create(claim)
        node = objects.node_manifest(instance.provider_id, instance.name)
        with suppress(AlreadyExistsError):
            await self._client.create(node)
            await self._client.patch(
                NODES, instance.name, {"status": node["status"]}, subresource="status"
            )
            # The node lifecycle controller's part: the API server taints new nodes not-ready.
            await self._client.patch(NODES, instance.name, {"spec": node["spec"]})
        return instance

    async def delete(self, claim: NodeClaim, /) -> None:
        self.deletes.append(await self._client.get(NODES, claim.metadata.name) is not None)
        await super().delete(claim)


class Cluster:
    """An API server with our kinds, seen by a test."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.client = self.new_client()
        self.events = Events()

    def new_client(self, kind: type[Client] = Client, **given: Any) -> Client:
        endpoint = config.kubeconfig(str(self.kubeconfig))
        return kind(endpoint, field_manager="test", kinds=KINDS, **given)

    @asynccontextmanager
    async def provisioner(
        self,
        cloud: CloudProvider,
        *,
        timings: Timings = QUICK,
        client: Client | None = None,
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A provisioner process; what it fails of is raised at the end. Cancel it to kill it."""
        clock = Clock()
        client = client or self.new_client()
        caches = Caches.of(client, cloud, clock)
        shared = Shared(client, cloud, self.events, timings, clock, workers=5)
        manager = Manager(
            client=client,
            informers=caches.all(),
            controllers=controllers(shared, caches),
            health_port=0,
            metrics_port=0,
        )
        running = asyncio.create_task(manager.run())
        try:
            yield running
        finally:
            if not running.cancelling():
                manager.stop()
            await asyncio.wait([running])
        if not running.cancelled():
            running.result()

    async def claim(self, name: str) -> NodeClaim | None:
        return await self.client.get(NODE_CLAIMS, name)

    async def node(self, name: str) -> Node | None:
        return await self.client.get(NODES, name)

    async def create_claim(self, name: str, **given: Any) -> NodeClaim:
        await self.client.create(objects.claim_manifest(name, **given))
        found = await self.claim(name)
        assert found is not None
        return found

    async def create_pod(self, name: str, node: str, **given: Any) -> None:
        spec = {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
            **given.pop("spec", {}),
        }
        manifest = objects.pod_manifest(name, node, spec=spec, **given)
        # A budget protects only pods that are Ready.
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        status = {**manifest.pop("status"), **ready}
        await self.client.create(manifest)
        await self.client.patch(
            PODS, name, {"status": status}, namespace="default", subresource="status"
        )

    async def create_budget(self, name: str, match: dict[str, str]) -> None:
        """That allows nobody to be disrupted, until `allow`."""
        await self.client.create(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": match}},
            }
        )
        await self.allow(name, 0)

    async def allow(self, budget: str, disruptions: int) -> None:
        """What the disruption controller would have found out."""
        status = {
            "disruptionsAllowed": disruptions,
            "observedGeneration": 1,
            "currentHealthy": 1,
            "desiredHealthy": 1,
            "expectedPods": 1,
        }
        await self.client.patch(
            BUDGETS, budget, {"status": status}, namespace="default", subresource="status"
        )

    async def ready(self, name: str) -> NodeClaim:
        async def is_ready() -> NodeClaim:
            claim = await self.claim(name)
            assert claim is not None
            assert claim.is_true("Ready"), claim.status
            return claim

        return await eventually(is_ready)

    async def gone(self, name: str) -> None:
        async def is_gone() -> None:
            assert await self.claim(name) is None
            assert await self.node(name) is None

        await eventually(is_gone)

    async def install(self) -> None:
        """Our kinds, and what a controller manager would have made."""
        folder = Path(apis.__file__).parent / "crds"
        for resource in (NODE_CLAIMS, NODE_POOLS):
            definition = folder / f"karpenter.sh_{resource.plural}.yaml"
            await self.client.apply(yaml.safe_load(definition.read_text()))

        async def served() -> None:
            await self.client.list(NODE_CLAIMS)
            await self.client.list(NODE_POOLS)

        await eventually(served)
        account: Manifest = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "default"},
        }
        with suppress(AlreadyExistsError):
            await self.client.create(account)

    async def empty(self) -> None:
        """Whatever tests left: no controller is there to take finalizers off."""
        for resource in (PODS, BUDGETS, NODE_POOLS, NODE_CLAIMS, NODES):
            for each in (await self.client.list(resource)).items:
                name, namespace = each.metadata.name, each.metadata.namespace
                await self.client.delete(
                    resource, name, namespace=namespace, grace_period_seconds=0
                )
                if each.metadata.finalizers:
                    with suppress(Exception):
                        await self.client.patch(
                            resource,
                            name,
                            {"metadata": {"finalizers": None}},
                            namespace=namespace,
                        )


async def eventually(check: Callable[[], Awaitable[T]], seconds: float = 15.0) -> T:
    """The check's answer, once it no longer fails; its failure, after that many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await check()
        except Exception:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.02)
