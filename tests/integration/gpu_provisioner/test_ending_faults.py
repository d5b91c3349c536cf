"""The end of claims while the API server and the cloud fail one time in six: nothing is leaked,
nothing is stuck, and what was not asked to go stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.errors import CloudUnavailableError
from cloudproviders.provider import Instance
from kube.client import Client
from kube.errors import ConflictError, ServerError
from kube.meta import Manifest
from kube.objects import NODES
from tests.fakes.notices import NoticeQueue
from tests.integration.gpu_provisioner import ending
from tests.integration.gpu_provisioner.test_case_background import orphan
from tests.integration.gpu_provisioner.world import QUICK, BootingCloud, Cluster, eventually


class Dice:
    """One in six, the same in each run."""

    def __init__(self) -> None:
        self.loaded = False
        self._random = random.Random(4)

    def hit(self) -> bool:
        return self.loaded and self._random.random() < 1 / 6


class MoodyClient(Client):
    """Some writes are refused; of some, which were done, the answer is lost."""

    def __init__(
        self, *given: Any, dice: Dice, failure: Callable[[], Exception], **named: Any
    ) -> None:
        super().__init__(*given, **named)
        self._dice = dice
        self._failure = failure

    async def patch(self, *given: Any, **named: Any) -> Any:
        self._before()
        answer = await super().patch(*given, **named)
        self._before()
        return answer

    async def delete(self, *given: Any, **named: Any) -> None:
        self._before()
        await super().delete(*given, **named)
        self._before()

    async def post(self, *given: Any, **named: Any) -> Manifest:
        self._before()
        return await super().post(*given, **named)

    def _before(self) -> None:
        if self._dice.hit():
            raise self._failure()


class MoodyCloud(BootingCloud):
    """So are some of its calls; a machine may be gone although nobody heard."""

    def __init__(self, client: Client, dice: Dice) -> None:
        super().__init__(client)
        self.queue = NoticeQueue()
        self.interruptions = self.queue.stream  # type: ignore[method-assign]
        self._dice = dice

    async def delete(self, claim: NodeClaim, /) -> None:
        self._before()
        await super().delete(claim)
        self._before()

    async def get(self, provider_id: str, /) -> Instance:
        self._before()
        return await super().get(provider_id)

    async def list(self) -> Sequence[Instance]:
        self._before()
        return await super().list()

    def _before(self) -> None:
        if self._dice.hit():
            raise CloudUnavailableError("try again later")


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(lambda: ServerError(500, "InternalError", "etcd is away"), id="refused"),
        pytest.param(lambda: ConflictError(409, "Conflict", "somebody wrote"), id="conflict"),
        pytest.param(lambda: TimeoutError("no answer"), id="lost"),
    ],
)
async def test_every_way_to_end_ends(cluster: Cluster, failure: Callable[[], Exception]) -> None:
    dice = Dice()
    cloud = MoodyCloud(cluster.client, dice)
    former = orphan("former", age=60)
    ways = ["deleted", "node-deleted", "interrupted", "lost"]
    names = [f"{way}{number}" for way in ways for number in range(2)]
    timings = replace(QUICK, garbage_collection=0.2, garbage_grace=10.0)
    client = cluster.new_client(MoodyClient, dice=dice, failure=failure)
    async with cluster.provisioner(cloud, timings=timings, client=client):
        for name in [*names, "kept"]:
            await cluster.create_claim(name)
        claims = {name: await cluster.ready(name) for name in [*names, "kept"]}
        for name in names:
            await cluster.create_pod(f"p-{name}", name)
        dice.loaded = True
        cloud.instances[former.claim_uid] = former
        for name, claim in claims.items():
            match name[:-1]:
                case "deleted":
                    await ending.delete(cluster, name)
                case "node-deleted":
                    await cluster.client.delete(NODES, name)
                case "interrupted":
                    cloud.queue.announce("instance_stopped", claim.status.provider_id)
                case "lost":
                    cloud.loses(claim.status.provider_id)
                    await ending.becomes_not_ready(cluster, name)

        async def ended() -> None:
            left = (await cluster.client.list(NODE_CLAIMS)).items
            assert [each.metadata.name for each in left] == ["kept"]
            nodes = (await cluster.client.list(NODES)).items
            assert [each.metadata.name for each in nodes] == ["kept"]
            assert set(cloud.instances) == {claims["kept"].metadata.uid}

        await eventually(ended, seconds=60.0)
        dice.loaded = False
        await ending.nothing_is_leaked(cluster, cloud)

    assert cloud.queue.acknowledged == ["instance_stopped"] * 2
    assert len(cloud.made) == len(claims)


async def test_nothing_is_concluded_from_a_cloud_that_does_not_answer(cluster: Cluster) -> None:
    """Neither that a claim's machine is gone, nor that a dead node need not be drained."""
    dice = Dice()
    cloud = MoodyCloud(cluster.client, dice)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.create_claim("ws2")
        await cluster.ready("ws1")
        await cluster.ready("ws2")
    for name in ("ws1", "ws2"):
        await ending.becomes_not_ready(cluster, name)
    await ending.delete(cluster, "ws2")
    await cluster.create_pod("p", "ws2", **ending.HOLDS)
    dice.hit = lambda: True  # type: ignore[method-assign]

    async with cluster.provisioner(
        cloud, timings=replace(QUICK, garbage_collection=0.1, garbage_grace=0.0)
    ):
        await asyncio.sleep(1.0)
        kept = await cluster.claim("ws1")
        assert kept is not None
        assert not kept.deleting
        assert await cluster.node("ws2") is not None
        assert len(cloud.instances) == 2

        dice.hit = lambda: False  # type: ignore[method-assign]
        await ending.kill(cluster, "p")
        await cluster.gone("ws2")
        await ending.nothing_is_leaked(cluster, cloud)
