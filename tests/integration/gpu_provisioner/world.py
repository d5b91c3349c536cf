"""Provisioners that run against the real API server, and the clouds beneath them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

import apis
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import CloudProvider, Instance, Pending
from gpu_provisioner.controllers import controllers
from gpu_provisioner.settings import Timings
from gpu_provisioner.shared import Caches, Shared
from kube import config
from kube.client import Client
from kube.clock import Clock
from kube.config import Endpoint
from kube.errors import AlreadyExistsError
from kube.manager import Manager
from kube.meta import Condition, Manifest, Resource
from kube.objects import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    VOLUME_ATTACHMENTS,
    Node,
    Unstructured,
)
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud
from tests.fakes.events import Events
from tests.fakes.pools import AKS

BUDGETS: Resource[Unstructured] = Resource(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", Unstructured
)
ACCOUNTS: Resource[Unstructured] = Resource(
    "", "v1", "ServiceAccount", "serviceaccounts", Unstructured
)
CLASSES: Resource[NodeClass] = Resource(
    "test.kaito.sh", "v1", "TestNodeClass", "testnodeclasses", NodeClass, namespaced=False
)
"""A kind of node class that is nobody's."""
KINDS: list[Resource[Any]] = [AKS, CLASSES, NODE_CLAIMS, NODE_POOLS, BUDGETS, ACCOUNTS]

QUICK = Timings(instance_poll=0.05, drain_poll=0.05, drain_poll_cap=0.2, min_drain=0.0)

T = TypeVar("T")


class BootingCloud(FakeCloud):
    """A fake cloud whose machines join the cluster by themselves, Ready at once."""

    def __init__(self, client: Client, *, lingers: bool = False) -> None:
        super().__init__(lingers=lingers)
        self._client = client
        self.deletes: list[bool] = []
        """Of every delete: whether the Node still existed."""
        self._booting: set[asyncio.Task[None]] = set()

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        instance = await super().create(claim)
        if isinstance(instance, Instance):
            # Machines boot by themselves: whoever ordered one may die meanwhile.
            booting = asyncio.create_task(join(self._client, instance.provider_id, instance.name))
            self._booting.add(booting)
            booting.add_done_callback(self._booting.discard)
            await asyncio.shield(booting)
        return instance

    async def delete(self, claim: NodeClaim, /) -> None:
        self.deletes.append(await self._client.get(NODES, claim.metadata.name) is not None)
        await super().delete(claim)


async def join(client: Client, provider_id: str, name: str, **given: Any) -> None:
    """What the kubelet of a machine does, and whoever looks after new nodes; once."""
    node = objects.node_manifest(provider_id, name, **given)
    with suppress(AlreadyExistsError):
        await client.create({**node, "spec": {"taints": node["spec"]["taints"]}})
        await client.patch(NODES, name, {"status": node["status"]}, subresource="status")
        # The node lifecycle controller's part: the API server taints new nodes not-ready. Only
        # with its provider id is the Node anybody's.
        await client.patch(NODES, name, {"spec": node["spec"]})


class Cluster:
    """An API server with our kinds, seen by a test."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.client = self.new_client()
        self.events = Events()

    @property
    def endpoint(self) -> Endpoint:
        return config.kubeconfig(str(self.kubeconfig))

    def new_client(self, kind: type[Client] = Client, *, server: str = "", **given: Any) -> Client:
        """`server`: another way to the same API server."""
        endpoint = self.endpoint
        if server:
            endpoint = replace(endpoint, server=server)
        return kind(endpoint, field_manager="test", kinds=KINDS, **given)

    @asynccontextmanager
    async def provisioner(
        self,
        cloud: CloudProvider,
        *,
        timings: Timings = QUICK,
        client: Client | None = None,
        clock: Clock | None = None,
        repair: bool = True,
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A provisioner process; what it fails of is raised at the end. Cancel it to kill it."""
        clock = clock or Clock()
        client = client or self.new_client()
        caches = Caches.of(client, cloud, clock)
        shared = Shared(client, cloud, self.events, timings, clock, workers=5, repair=repair)
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

    async def launched(self, name: str) -> str:
        """The provider id of the claim's machine, once it is known."""

        async def is_launched() -> str:
            claim = await self.claim(name)
            assert claim is not None
            assert claim.status.provider_id
            return claim.status.provider_id

        return await eventually(is_launched)

    async def join(self, provider_id: str, name: str, **given: Any) -> None:
        await join(self.client, provider_id, name, **given)

    async def says(self, name: str, kind: str, reason: str) -> Condition:
        """The claim's condition, once it has that reason."""

        async def is_said() -> Condition:
            claim = await self.claim(name)
            assert claim is not None
            said = claim.condition(kind)
            assert said.reason == reason, claim.status
            return said

        return await eventually(is_said)

    async def deleted(self, name: str) -> None:
        """The claim is gone, whatever else there is."""

        async def is_deleted() -> None:
            assert await self.claim(name) is None

        await eventually(is_deleted)

    async def balanced(self, cloud: CloudProvider) -> None:
        """The machines there are, and those that claims know of, become the same."""

        async def is_balanced() -> None:
            claims = (await self.client.list(NODE_CLAIMS)).items
            known = sorted(claim.status.provider_id for claim in claims)
            assert sorted(each.provider_id for each in await cloud.list()) == known

        await eventually(is_balanced)

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
        kinds: list[Resource[Any]] = [PODS, BUDGETS, NODE_POOLS, NODE_CLAIMS, NODES]
        for resource in [*kinds, VOLUME_ATTACHMENTS, PERSISTENT_VOLUME_CLAIMS]:
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
