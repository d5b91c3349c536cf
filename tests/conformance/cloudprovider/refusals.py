"""Rules of refusing: each code of the vendor has one meaning, and the ladder goes on from there."""

from __future__ import annotations

from typing import ClassVar

import pytest

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.errors import (
    CloudError,
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    NodeClassNotReadyError,
)
from cloudproviders.ladder import ALL_UNAVAILABLE
from cloudproviders.provider import Instance
from tests.conformance.cloudprovider.launch import need
from tests.conformance.cloudprovider.world import Ability, Kind, World

WORDS = "so says the cloud itself"
ON_DEMAND = [labels.CAPACITY_ON_DEMAND]

_ERRORS: dict[Kind, type[CloudError]] = {
    Kind.CAPACITY: InsufficientCapacityError,
    Kind.QUOTA: CreateError,
    Kind.CONFIGURATION: CreateError,
    Kind.NODE_CLASS: NodeClassNotReadyError,
    Kind.TRANSIENT: CloudUnavailableError,
}


async def outcome(world: World, claim: NodeClaim) -> Instance | CloudError:
    """What becomes of the claim: its machine, or the first refusal."""
    try:
        return await world.launched(claim)
    except CloudError as refused:
        return refused


class Refusals:
    """Codes, words and the ladder."""

    world_class: ClassVar[type[World]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each code that the vendor documents, with the code in its id."""
        if "documented_code" in metafunc.fixturenames:
            metafunc.parametrize("documented_code", sorted(self.world_class.documented_codes))

    async def test_documented_codes_mean_what_they_should(
        self, world: World, documented_code: str
    ) -> None:
        kind = world.documented_codes[documented_code]
        claim = world.claim(capacity_types=ON_DEMAND)
        if kind is Kind.TRANSIENT:
            world.refuse(documented_code, times=1, words=WORDS)
        else:
            world.refuse(documented_code, words=WORDS)

        told = await outcome(world, claim)

        if kind is Kind.TRANSIENT:
            assert isinstance(told, Instance | CloudUnavailableError), repr(told)
            assert isinstance(await outcome(world, claim), Instance)
            return
        assert type(told) is _ERRORS[kind], repr(told)
        assert WORDS in str(told)
        assert not isinstance(told, CreateError) or told.reason
        await world.gone(claim)
        assert await world.machines() == []

    async def test_a_code_that_nobody_knows_is_told_with_its_name(self, world: World) -> None:
        need(world, Ability.REFUSALS)
        world.refuse(world.unknown_code, words=WORDS)

        told = await outcome(world, world.claim(capacity_types=ON_DEMAND))

        assert isinstance(told, CreateError)
        assert world.unknown_code in told.message
        assert WORDS in told.message

    async def test_a_refused_order_succeeds_once_the_cloud_relents(self, world: World) -> None:
        """Also where it was memory that refused it: in its time."""
        claim = world.claim(capacity_types=ON_DEMAND)
        world.refuse(world.stock_out)
        assert isinstance(await outcome(world, claim), InsufficientCapacityError)

        world.relent()
        await world.tick(world.memory_seconds + 1)

        assert isinstance(await outcome(world, claim), Instance)
        assert len(await world.machines()) == 1

    async def test_the_ladder_goes_on_to_the_next_type(self, world: World) -> None:
        first, second = world.types
        world.refuse(world.stock_out, instance_type=first)

        made = await world.launched(
            world.claim(instance_types=[first, second], capacity_types=ON_DEMAND)
        )

        assert made.instance_type == second
        assert len(await world.machines()) == 1

    async def test_the_ladder_goes_on_to_the_next_zone(self, world: World) -> None:
        need(world, Ability.ZONES)
        if len(world.zones) < 2:
            pytest.skip("this world has one zone")
        here, there = world.zones[:2]
        world.refuse(world.stock_out, zone=here)

        made = await world.launched(world.claim(zones=[here, there], capacity_types=ON_DEMAND))

        assert made.zone == there

    async def test_the_ladder_goes_from_spot_to_on_demand(self, world: World) -> None:
        need(world, Ability.SPOT)
        both = [labels.CAPACITY_SPOT, labels.CAPACITY_ON_DEMAND]
        before = await world.launched(world.claim("ws1", capacity_types=both))
        world.refuse(world.stock_out, capacity_type=labels.CAPACITY_SPOT)

        after = await world.launched(world.claim("ws2", capacity_types=both))

        assert before.capacity_type == labels.CAPACITY_SPOT
        assert after.capacity_type == labels.CAPACITY_ON_DEMAND

    async def test_what_was_refused_is_remembered_and_forgotten(self, world: World) -> None:
        first, second = world.types

        def claim(name: str) -> NodeClaim:
            both = [first, second]
            return world.claim(name, instance_types=both, capacity_types=ON_DEMAND)

        world.refuse(world.stock_out, instance_type=first)
        await world.launched(claim("ws1"))
        world.relent()

        remembered = await world.launched(claim("ws2"))
        await world.tick(world.memory_seconds + 1)
        forgotten = await world.launched(claim("ws3"))

        assert remembered.instance_type == second
        assert forgotten.instance_type == first

    async def test_a_machine_is_kept_though_its_kind_has_sold_out_since(self, world: World) -> None:
        """Create is asked again after any failed write of the claim's status."""
        claim = world.claim("ws1", capacity_types=ON_DEMAND)
        made = await world.launched(claim)
        world.refuse(world.stock_out)
        refused = await outcome(world, world.claim("ws2", capacity_types=ON_DEMAND))

        assert isinstance(refused, InsufficientCapacityError)
        assert await world.launched(claim) == made

    async def test_nothing_left_is_told_with_every_reason(self, world: World) -> None:
        world.refuse(world.stock_out, words=WORDS)

        claim = world.claim(instance_types=world.types, capacity_types=ON_DEMAND)
        told = await outcome(world, claim)
        await world.gone(claim)

        assert isinstance(told, InsufficientCapacityError)
        assert str(told).startswith(ALL_UNAVAILABLE)
        assert WORDS in str(told)
        for name in world.types:
            assert name in str(told)
        assert await world.machines() == []

    async def test_what_cannot_be_had_at_all_is_told_at_once(self, world: World) -> None:
        world.calls.writes = 0

        told = await outcome(world, world.claim(instance_types=["no-such-type"]))

        assert isinstance(told, InsufficientCapacityError)
        assert str(told).startswith(ALL_UNAVAILABLE)
        assert world.calls.writes == 0

    async def test_an_order_that_fails_late_is_cleared_away_and_the_next_rung_tried(
        self, world: World
    ) -> None:
        need(world, Ability.LATE)
        first, second = world.types
        claim = world.claim(instance_types=[first, second], capacity_types=ON_DEMAND)
        world.refuse(world.stock_out, instance_type=first, late=True, words=WORDS)

        made = await world.launched(claim)

        assert made.instance_type == second
        assert len(await world.machines()) == 1

    async def test_an_order_that_fails_late_with_no_rung_left_leaves_nothing(
        self, world: World
    ) -> None:
        need(world, Ability.LATE)
        claim = world.claim(capacity_types=ON_DEMAND)
        world.refuse(world.stock_out, late=True, words=WORDS)

        told = await outcome(world, claim)
        await world.gone(claim)

        assert isinstance(told, InsufficientCapacityError)
        assert WORDS in str(told)
        assert await world.machines() == []
