"""AKS on Azure Local keeps the contract, and what is peculiar to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from cloudproviders.errors import CloudUnavailableError, CreateError
from cloudproviders.provider import Pending
from tests.conformance.cloudprovider.arc_world import ArcWorld
from tests.conformance.cloudprovider.refusals import outcome
from tests.conformance.cloudprovider.suite import CloudProviderConformance


class TestArc(CloudProviderConformance):
    world_class = ArcWorld

    async def test_the_order_is_that_of_the_api(self, world: ArcWorld) -> None:
        await world.launched(
            world.claim(taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}])
        )

        (pool,) = world.arc.pools.values()
        assert pool.body["extendedLocation"] == {
            "type": "CustomLocation",
            "name": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups"
            "/emulator/providers/Microsoft.ExtendedLocation/customLocations/emulator",
        }
        assert pool.body["tags"]["kaito.sh_nodeclaim"] == "ws0a1b2c3d4"
        assert pool.body["tags"]["karpenter.sh_managed-by"] == "emulator"
        properties = pool.properties
        assert (properties["count"], properties["osType"]) == (1, "Linux")
        assert properties["nodeTaints"] == [
            "karpenter.sh/unregistered=true:NoExecute",
            "sku=gpu:NoSchedule",
        ]
        assert properties["nodeLabels"]["kaito.sh/workspace"] == "phi"

    async def test_operations_queue_here_and_are_never_refused(self, world: ArcWorld) -> None:
        claims = [world.claim(f"ws{n}") for n in range(4)]

        first = await asyncio.gather(*(world.provider.create(claim) for claim in claims))
        messages = [each.message for each in first if isinstance(each, Pending)]
        await world.all_launched(claims)
        await world.gone(*claims)

        assert world.arc.refused_busy == 0
        assert sum("ws0: Accepted" in each for each in messages) == 1
        assert sum("waits for agent pool ws0" in each for each in messages) == 3
        assert messages[-1].endswith("2 before it")

    async def test_an_operation_of_somebody_else_is_waited_for(self, world: ArcWorld) -> None:
        await world.foreign_instance("byhand")
        world.arc.pools["byhand"].state = "Upgrading"
        claim = world.claim()

        answer = await world.provider.create(claim)
        world.arc.pools["byhand"].state = "Succeeded"
        await world.launched(claim)

        assert isinstance(answer, Pending)
        assert "byhand (Upgrading)" in answer.message
        assert world.arc.refused_busy == 0

    async def test_after_a_lost_answer_it_looks_before_it_asks_again(self, world: ArcWorld) -> None:
        claim = world.claim()
        world.lose_next_answer("create")
        with suppress(CloudUnavailableError):  # or aiohttp repeats a PUT on an old connection
            await world.provider.create(claim)
        world.calls.writes = 0

        answer = await world.provider.create(claim)

        assert isinstance(answer, Pending)
        assert "Creating" in answer.message
        assert world.calls.writes == 0

    async def test_sixteen_pools_are_all_there_can_be(self, world: ArcWorld) -> None:
        for number in range(16):
            await world.foreign_instance(f"byhand{number}")

        told = await outcome(world, world.claim())

        assert isinstance(told, CreateError)
        assert told.reason == "QuotaExceeded"
        assert "16 of the 16 agent pools" in told.message
        assert world.calls.writes == 0

    async def test_sizes_that_the_site_does_not_have_are_not_tried(self, world: ArcWorld) -> None:
        first, second = world.types
        world.arc.skus = [second]

        made = await world.launched(world.claim(instance_types=[first, second]))
        types = {each.name: each for each in await world.provider.instance_types()}

        assert made.instance_type == second
        assert world.calls.writes == 1
        assert not types[first].offerings[0].available
        assert types[second].offerings[0].available

    async def test_a_failure_is_told_while_the_next_pool_is_made(self, world: ArcWorld) -> None:
        claim = world.claim()
        world.refuse("Timeout", late=True, times=1, words="the host is slow")
        told = []
        for _ in range(8):
            answer = await world.provider.create(claim)
            if not isinstance(answer, Pending):
                break
            told.append(answer.message)
            await world.tick(answer.look_again)

        assert any("failed" in each and "deleting it before the next try" in each for each in told)
        assert "the host is slow" in told[-1]
        assert "before:" in told[-1]

    @pytest.mark.parametrize("code", ["IPOutOfRange", "InvalidConfiguration", "Gremlins"])
    async def test_a_late_failure_that_no_rung_gets_round_is_told(
        self, world: ArcWorld, code: str
    ) -> None:
        claim = world.claim(instance_types=world.types)
        world.refuse(code, late=True, words="ask the owner")

        told = await outcome(world, claim)
        await world.gone(claim)

        assert isinstance(told, CreateError)
        assert code in told.message
        assert "ask the owner" in told.message
        assert await world.machines() == []

    async def test_a_pool_without_machine_stays_pending(self, world: ArcWorld) -> None:
        claim = world.claim()
        world.arc.fate(joins=False)
        await world.provider.create(claim)
        await world.tick(60)

        answer = await world.provider.create(claim)

        assert isinstance(answer, Pending)
        assert "no Node has joined" in answer.message

    async def test_a_name_that_no_pool_can_have_is_made_into_one(self, world: ArcWorld) -> None:
        claim = world.claim("default-pool-abcde")

        made = await world.launched(claim)
        await world.restart()

        assert made.claim_name == "default-pool-abcde"
        assert await world.launched(claim) == made
        await world.gone(claim)
        assert await world.machines() == []
