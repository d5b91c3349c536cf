"""No interleaving of rounds, lagging caches and restarts gives a namespace more than its quota."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any, cast

import pytest

from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from kube.listing import Listing
from kube.meta import Key, Manifest, ObjectMeta, Resource
from kube.objects import Namespace, Unstructured
from kube.store import Store
from tests import builders
from tests.fakes.clock import FakeClock
from tests.fakes.memorykube import MemoryKube
from workspace_controller import marks
from workspace_controller.nodes import candidates
from workspace_controller.quota import TenantStores
from workspace_controller.quotagate import QuotaGate
from workspace_controller.workspace import owner
from workspace_controller.workspace.observe import BY_NODE, BY_OWNER, BY_UNMANAGED, Caches
from workspace_controller.workspace.reconciler import WorkspaceReconciler

SETTINGS = builders.settings()
GPUS = {"local-gpu-1": 1, "local-gpu-2": 2}
_OF_CLAIMS = {
    BY_OWNER: marks.index(marks.WORKSPACE.of_cluster_scoped),
    BY_NODE: candidates.claim_node,
}


class Slow(MemoryKube):
    """An API server whose every answer takes a while, in which others are served."""

    def __init__(self, dice: random.Random, quota: int) -> None:
        super().__init__(FakeClock())
        self.store(WORKSPACES)
        self.store(NODE_CLAIMS)
        self._dice = dice
        self._quota = quota
        self.meanwhile = lambda: None
        self.broken: list[int] = []
        """How many GPUs there were each time that there were too many."""

    async def _while(self) -> None:
        for _ in range(self._dice.randrange(4)):
            self.meanwhile()
            await asyncio.sleep(0)

    async def list(self, *args: Any, **kwargs: Any) -> Listing[Any]:
        await self._while()
        found = await super().list(*args, **kwargs)
        await self._while()
        return found

    async def patch(self, *args: Any, **kwargs: Any) -> Any:
        await self._while()
        return await super().patch(*args, **kwargs)

    async def create(self, manifest: Manifest) -> Manifest:
        await self._while()
        made = await super().create(manifest)
        if manifest["kind"] == "NodeClaim" and self.gpus() > self._quota:
            self.broken.append(self.gpus())
        await self._while()
        return made

    def gpus(self) -> int:
        claims = (self.manifest(NODE_CLAIMS, name) for name in self.names(NODE_CLAIMS))
        types = (each["spec"]["requirements"][0]["values"][0] for each in claims if each)
        return sum(map(GPUS.__getitem__, types))


class Deaf:
    def event(self, *_: object) -> None:
        """Nobody listens."""


class World:
    """A namespace with a quota, and a leader that sees it late."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.quota = self.dice.randint(0, 5)
        self.kube = Slow(self.dice, self.quota)
        for number in range(self.dice.randint(2, 5)):
            self._add(f"w{number}")
        self.lead()
        self.kube.meanwhile = lambda: self.deliver(0.1)

    def _add(self, name: str) -> None:
        manifest = builders.a_workspace_manifest(
            name=name, instance_type=self.dice.choice(sorted(GPUS))
        )
        manifest["resource"]["count"] = self.dice.randint(1, 3)
        manifest["inference"] = {
            "template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}
        }
        born = f"2026-11-21T1{self.dice.randint(0, 3)}:00:00Z"
        manifest["metadata"] |= {"uid": f"uid-{name}", "creationTimestamp": born}
        self.kube.add(manifest)

    def lead(self) -> None:
        """Another process takes over, with caches as old as they happen to be."""
        self.workspaces: Store[Workspace] = Store()
        self.claims: Store[NodeClaim] = Store(_OF_CLAIMS)
        namespaces: Store[Namespace] = Store()
        said = {"kaito.sh/gpu-quota": str(self.quota)}
        namespaces.put(Namespace(metadata=ObjectMeta(name="default", annotations=said)))
        caches = Caches(
            workspaces=self.workspaces,
            node_claims=self.claims,
            nodes=Store(
                {
                    BY_OWNER: marks.index(marks.WORKSPACE.of_cluster_scoped),
                    BY_UNMANAGED: candidates.is_unmanaged,
                }
            ),
            stateful_sets=Store(),
            services=Store(),
            pods=Store({BY_OWNER: marks.index(owner.of_child), BY_NODE: candidates.pod_node}),
            config_maps=Store(),
            benchmarks=Store({BY_OWNER: marks.index(owner.of_benchmark)}),
            loaders=Store({BY_OWNER: marks.index(owner.of_loader)}),
            namespaces=namespaces,
        )
        stores = TenantStores(
            SETTINGS.facts,
            namespaces=namespaces,
            workspaces=self.workspaces,
            claims=(self.claims,),
        )
        caches = dataclasses.replace(caches, tenants=stores)
        client = cast("Any", self.kube)
        self.reconciler = WorkspaceReconciler(
            client, caches, SETTINGS, Deaf(), FakeClock(), QuotaGate(client)
        )
        self.busy: set[Key] = set()

    def deliver(self, chance: float) -> None:
        """Some of what is true comes to be seen."""
        self._deliver(WORKSPACES, self.workspaces, "default", chance)
        self._deliver(NODE_CLAIMS, self.claims, "", chance)

    def _deliver(self, kind: Resource[Any], store: Store[Any], place: str, chance: float) -> None:
        there = set(self.kube.names(kind))
        for name in sorted(there | {each.metadata.name for each in store.list()}):
            if self.dice.random() > chance:
                continue
            found = self.kube.manifest(kind, name, place)
            if found is None:
                store.remove(Key(place, name))
            else:
                store.put(kind.type.model_validate(found))

    async def round(self) -> None:
        """As a worker has it: no two rounds of one object at once."""
        idle = [each for each in self.workspaces.list() if each.metadata.key not in self.busy]
        if not idle:
            return
        chosen = self.dice.choice(idle)
        busy = self.busy
        busy.add(chosen.metadata.key)
        try:
            await self.reconciler.reconcile(chosen)
        except (ConflictError, NotFoundError, AlreadyExistsError):
            pass
        finally:
            busy.discard(chosen.metadata.key)

    async def live(self, steps: int) -> None:
        for _ in range(steps):
            self.deliver(0.3)
            if self.dice.random() < 0.1 and (names := self.kube.names(NODE_CLAIMS)):
                self.kube.vanish(NODE_CLAIMS, self.dice.choice(names))
            if self.dice.random() < 0.05:
                self.lead()
                self.deliver(0.5)
            await asyncio.gather(*(self.round() for _ in range(4)))

    async def settle(self) -> None:
        for _ in range(6):
            self.deliver(1.0)
            for each in self.workspaces.list():
                with _undone:
                    await self.reconciler.reconcile(each)


class _Undone:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, ConflictError | NotFoundError)


_undone = _Undone()


@pytest.mark.parametrize("seed", range(40))
async def test_there_are_never_more_claims_than_the_quota_allows(seed: int) -> None:
    world = World(seed)
    await world.live(12)
    assert world.kube.broken == []
    await world.settle()
    assert world.kube.broken == []


async def test_what_can_be_had_is_had_in_the_end() -> None:
    """The property above would hold of a controller that asks for nothing, too."""
    had = 0
    for seed in range(12):
        world = World(seed)
        await world.live(5)
        await world.settle()
        had += world.kube.gpus() > 0
    assert had > 6


async def test_an_elder_that_is_seen_late_does_not_overtake_a_claim_that_is_being_made() -> None:
    """It counts nothing for the younger one, whose claim is not stored yet."""
    world = World(0)
    world.quota = world.kube._quota = 1
    world.kube.meanwhile = lambda: None
    for name in world.kube.names(WORKSPACES):
        world.kube.vanish(WORKSPACES, name, "default")
    stored, made = asyncio.Event(), world.kube.create

    async def held_up(manifest: Manifest) -> Manifest:
        await stored.wait()
        return await made(manifest)

    world.kube.create = held_up  # type: ignore[method-assign]
    world.lead()
    rounds = []
    for name, born in (("young", "2026-11-21T13:00:00Z"), ("elder", "2026-11-21T10:00:00Z")):
        manifest = builders.a_workspace_manifest(name=name)
        manifest["metadata"] |= {"uid": f"uid-{name}", "creationTimestamp": born}
        world.kube.add(manifest)
        world.deliver(1.0)
        rounds.append(asyncio.create_task(world.reconciler.reconcile(world.workspaces.list()[-1])))
        for _ in range(50):
            await asyncio.sleep(0)
    stored.set()
    await asyncio.gather(*rounds)
    assert world.kube.gpus() == 1


def test_pods_of_nobody_hold_nothing() -> None:
    stores = TenantStores(SETTINGS.facts, default=1)
    stray = Unstructured(metadata=ObjectMeta(name="a", namespace="default"))
    pooled = dataclasses.replace(stores, pools=Store())
    cast("Any", pooled.pools).put(stray)
    account = pooled.account("default")
    assert account is not None
    assert account.shares == ()
