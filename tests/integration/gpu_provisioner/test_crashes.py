"""The provisioner dies at any step, before or after it; the next one ends what it began.

A dead process does nothing more: not to the API server, and not to the cloud. Whatever point it
died at, there is one machine for the claim in the end, and none when the claim is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.errors import CloudError
from cloudproviders.provider import Instance, Pending
from kube.client import Client
from kube.errors import KubeError
from kube.meta import Manifest
from tests.integration.gpu_provisioner.world import BootingCloud, Cluster, eventually


class Mortality:
    """Of a process: it dies of its `dies_at`-th step, a call of the API server or of the cloud;
    before that is made, or when it is done but unanswered."""

    def __init__(self, dies_at: int, *, unanswered: bool) -> None:
        self._dies_at = dies_at
        self._unanswered = unanswered
        self._steps = 0
        self.dead = asyncio.Event()

    async def alive(self) -> None:
        """The dead never get to the next line."""
        if self.dead.is_set():
            await asyncio.Event().wait()

    async def step(self, do: Callable[[], Awaitable[Any]]) -> Any:
        self._steps += 1
        last = self._steps == self._dies_at
        if last and not self._unanswered:
            self.dead.set()
        await self.alive()
        try:
            answer = await do()
        except (KubeError, CloudError):
            await self._outlive(last)
            raise
        await self._outlive(last)
        return answer

    async def _outlive(self, last: bool) -> None:
        if last:
            self.dead.set()
        await self.alive()


class MortalClient(Client):
    """The API server as a process sees it that may be dead."""

    def __init__(self, *given: Any, process: Mortality, **named: Any) -> None:
        super().__init__(*given, **named)
        self._process = process

    async def get(self, *given: Any, **named: Any) -> Any:
        return await self._process.step(lambda: super(MortalClient, self).get(*given, **named))

    async def create(self, manifest: Manifest) -> Any:
        return await self._process.step(lambda: super(MortalClient, self).create(manifest))

    async def patch(self, *given: Any, **named: Any) -> Any:
        return await self._process.step(lambda: super(MortalClient, self).patch(*given, **named))

    async def delete(self, *given: Any, **named: Any) -> None:
        await self._process.step(lambda: super(MortalClient, self).delete(*given, **named))

    async def post(self, *given: Any, **named: Any) -> Any:
        return await self._process.step(lambda: super(MortalClient, self).post(*given, **named))


class SeenBy:
    """A cloud as a process sees it that may be dead."""

    def __init__(self, cloud: BootingCloud, process: Mortality) -> None:
        self._cloud = cloud
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cloud, name)

    async def create(self, claim: NodeClaim, /) -> Any:
        return await self._process.step(lambda: self._cloud.create(claim))

    async def delete(self, claim: NodeClaim, /) -> None:
        await self._process.step(lambda: self._cloud.delete(claim))

    async def get(self, provider_id: str, /) -> Any:
        return await self._process.step(lambda: self._cloud.get(provider_id))

    async def list(self) -> Sequence[Instance]:
        await self._process.alive()
        return await self._cloud.list()


async def run_until_death(
    cluster: Cluster,
    cloud: BootingCloud,
    goal: Callable[[], Awaitable[Any]],
    *,
    dies_at: int,
    unanswered: bool,
) -> bool:
    """A process that dies at that step, or reaches its goal; whether it died."""
    life = Mortality(dies_at, unanswered=unanswered)
    client = cluster.new_client(MortalClient, process=life)
    seen = SeenBy(cloud, life)
    async with cluster.provisioner(seen, client=client) as process:  # type: ignore[arg-type]

        async def bury() -> None:
            await life.dead.wait()
            process.cancel()

        buried = asyncio.create_task(bury())  # also while it is being stopped
        reached = asyncio.ensure_future(goal())
        await asyncio.wait([reached, buried], return_when=asyncio.FIRST_COMPLETED)
    for each in (reached, buried):
        each.cancel()
    await asyncio.gather(reached, buried, return_exceptions=True)
    await client.close()  # it may have died closing it
    return life.dead.is_set()


UNANSWERED = pytest.mark.parametrize(
    "unanswered", [pytest.param(False, id="before"), pytest.param(True, id="after")]
)
MOST_STEPS = 40


@UNANSWERED
@pytest.mark.parametrize("looks", [pytest.param(0, id="at once"), pytest.param(2, id="in time")])
async def test_case_08_a_life_that_is_cut_anywhere_ends_ready_with_one_machine(
    cluster: Cluster, unanswered: bool, looks: int
) -> None:
    for dies_at in range(1, MOST_STEPS):
        cloud = BootingCloud(cluster.client)
        cloud.is_at_work(*[Pending(message="Creating", look_again=0.05)] * looks)
        name = f"ws{dies_at}"
        await cluster.create_claim(name)

        died = await run_until_death(
            cluster,
            cloud,
            lambda name=name: cluster.ready(name),  # type: ignore[misc]
            dies_at=dies_at,
            unanswered=unanswered,
        )
        async with cluster.provisioner(cloud):
            claim = await cluster.ready(name)

        assert len(cloud.made) == len(cloud.instances) == 1
        node = await cluster.node(name)
        assert node is not None
        assert len(node.metadata.owner_references) == 1
        assert node.metadata.finalizers == claim.metadata.finalizers == (FINALIZER,)
        await cluster.balanced(cloud)
        await cluster.empty()
        if not died:
            assert dies_at > 5
            return
    raise AssertionError(f"more than {MOST_STEPS} steps for a claim")


@UNANSWERED
async def test_an_end_that_is_cut_anywhere_leaves_nothing(
    cluster: Cluster, unanswered: bool
) -> None:
    for dies_at in range(1, MOST_STEPS):
        cloud = BootingCloud(cluster.client)
        name = f"ws{dies_at}"
        await cluster.create_claim(name, terminationGracePeriod="1h")
        async with cluster.provisioner(cloud):
            await cluster.ready(name)
        await cluster.create_pod("p", name)
        await cluster.client.delete(NODE_CLAIMS, name)

        died = await run_until_death(
            cluster,
            cloud,
            lambda name=name: cluster.gone(name),  # type: ignore[misc]
            dies_at=dies_at,
            unanswered=unanswered,
        )
        async with cluster.provisioner(cloud):
            await cluster.gone(name)

        assert cloud.instances == {}
        if not died:
            assert dies_at > 5
            return
    raise AssertionError(f"more than {MOST_STEPS} steps for the end of a claim")


@UNANSWERED
async def test_giving_up_that_is_cut_anywhere_gives_up_and_leaves_nothing(
    cluster: Cluster, unanswered: bool
) -> None:
    for dies_at in range(1, MOST_STEPS):
        cloud = BootingCloud(cluster.client)
        cloud.sells = False
        name = f"ws{dies_at}"
        await cluster.create_claim(name)

        died = await run_until_death(
            cluster,
            cloud,
            lambda name=name: cluster.deleted(name),  # type: ignore[misc]
            dies_at=dies_at,
            unanswered=unanswered,
        )
        async with cluster.provisioner(cloud):
            await cluster.deleted(name)

        assert cloud.made == []
        if not died:
            assert dies_at > 4
            return
    raise AssertionError(f"more than {MOST_STEPS} steps for giving up a claim")


@UNANSWERED
async def test_a_claim_that_is_deleted_while_nobody_runs_leaks_nothing(
    cluster: Cluster, unanswered: bool
) -> None:
    """Above all where the machine was bought and the claim does not know of it yet."""
    bought = []
    for dies_at in range(1, 5):
        cloud = BootingCloud(cluster.client)
        name = f"ws{dies_at}"
        await cluster.create_claim(name)
        assert await run_until_death(
            cluster,
            cloud,
            lambda name=name: cluster.ready(name),  # type: ignore[misc]
            dies_at=dies_at,
            unanswered=unanswered,
        )
        bought.append(len(cloud.instances))
        await cluster.client.delete(NODE_CLAIMS, name)

        async with cluster.provisioner(cloud):

            async def gone(name: str = name) -> None:
                assert await cluster.claim(name) is None

            await eventually(gone)

        assert cloud.instances == {}
        await cluster.empty()
    assert set(bought) == {0, 1}


FINALIZER = "karpenter.sh/termination"
