"""Rules of launching and describing: one claim, one machine, and all that is known of it."""

from __future__ import annotations

import asyncio

import pytest

from apis.karpenter.v1 import labels
from cloudproviders.errors import NodeClaimNotFoundError
from cloudproviders.provider import Instance, Pending
from tests.conformance.cloudprovider.world import POLL_SECONDS, Ability, World

CLAIMS_AT_ONCE = 5


def need(world: World, *abilities: Ability) -> None:
    """Skip a test of what the cloud does not have."""
    for ability in abilities:
        if ability not in world.abilities:
            pytest.skip(f"this world has no {ability.name.lower()}")


class Launch:
    """Create, get, list and what an instance tells."""

    async def test_create_twice_is_one_instance(self, world: World) -> None:
        claim = world.claim()

        first = await world.launched(claim)
        again = await world.launched(claim)

        assert again == first
        assert len(await world.machines()) == 1

    async def test_create_at_the_same_time_is_one_instance(self, world: World) -> None:
        claim = world.claim()

        await asyncio.gather(*(world.provider.create(claim) for _ in range(3)))
        await world.launched(claim)

        assert len(await world.machines()) == 1

    async def test_create_after_a_restart_is_the_same_instance(self, world: World) -> None:
        claim = world.claim()
        first = await world.launched(claim)

        await world.restart()

        assert await world.launched(claim) == first
        assert len(await world.machines()) == 1

    async def test_create_after_a_restart_in_the_middle_is_one_instance(self, world: World) -> None:
        claim = world.claim()
        await world.provider.create(claim)

        await world.restart()
        await world.launched(claim)

        assert len(await world.machines()) == 1

    async def test_create_answers_pending_while_the_cloud_works(self, world: World) -> None:
        need(world, Ability.PENDING)

        answer = await world.provider.create(world.claim())

        assert isinstance(answer, Pending)
        assert answer.message
        assert answer.look_again > 0

    async def test_an_instance_tells_all_that_claims_show(self, world: World) -> None:
        claim = world.claim(capacity_types=[labels.CAPACITY_ON_DEMAND])

        instance = await world.launched(claim)

        assert instance.provider_id
        assert instance.name
        assert (instance.claim_name, instance.claim_uid) == (
            claim.metadata.name,
            claim.metadata.uid,
        )
        assert instance.instance_type == world.types[0]
        assert instance.capacity_type == labels.CAPACITY_ON_DEMAND
        assert instance.created is not None
        assert instance.created.tzinfo is not None
        assert not instance.terminating
        assert (instance.zone != "") == (Ability.ZONES in world.abilities)

    async def test_an_instance_tells_what_its_node_will_have(self, world: World) -> None:
        instance = await world.launched(world.claim())
        types = {each.name: each for each in await world.provider.instance_types()}
        known = types[instance.instance_type]

        assert instance.capacity == known.capacity
        assert instance.allocatable == known.allocatable
        assert instance.capacity.keys() >= {"cpu", "memory", "pods"}
        assert known.labels.items() <= instance.labels.items()

    async def test_provider_ids_differ(self, world: World) -> None:
        made = await world.all_launched([world.claim(f"ws{n}") for n in range(3)])

        assert len({each.provider_id for each in made}) == 3

    async def test_get_finds_an_instance_by_its_provider_id(self, world: World) -> None:
        made = await world.launched(world.claim())

        found = await world.provider.get(made.provider_id)

        assert (found.provider_id, found.claim_uid) == (made.provider_id, made.claim_uid)
        assert found.instance_type == made.instance_type

    async def test_get_of_what_is_not_ours_or_gone_is_not_found(self, world: World) -> None:
        claim = world.claim()
        made = await world.launched(claim)
        await world.gone(claim)

        for provider_id in (made.provider_id, "", "other:///somewhere/node-1"):
            with pytest.raises(NodeClaimNotFoundError):
                await world.provider.get(provider_id)

    async def test_list_is_exactly_what_create_made(self, world: World) -> None:
        assert list(await world.provider.list()) == []
        claims = [world.claim(f"ws{n}") for n in range(3)]
        made = await world.all_launched(claims)

        listed = await world.provider.list()

        assert sorted(each.claim_uid for each in listed) == sorted(each.claim_uid for each in made)
        assert {each.provider_id for each in listed} == {each.provider_id for each in made}
        assert {each.claim_name for each in listed} == {claim.metadata.name for claim in claims}
        assert all(each.created and not each.terminating for each in listed)

    async def test_list_shows_what_is_still_being_made(self, world: World) -> None:
        """Or else nobody could clean up after a claim that went in the meantime."""
        claim = world.claim()
        await world.provider.create(claim)
        await world.restart()

        (listed,) = await world.provider.list()

        assert listed.claim_uid == claim.metadata.uid
        assert not listed.terminating

    async def test_list_shows_what_another_process_made_meanwhile(self, world: World) -> None:
        """Garbage collection believes it: a list from before would cost claims their nodes."""
        claim = world.claim()
        other = await world.another()
        assert list(await world.provider.list()) == []
        await other.create(claim)
        await world.tick(POLL_SECONDS)

        (listed,) = await world.provider.list()

        assert listed.claim_uid == claim.metadata.uid

    async def test_instance_types_are_known_with_their_offerings(self, world: World) -> None:
        types = await world.provider.instance_types()
        names = [each.name for each in types]

        assert set(world.types) <= set(names)
        assert len(set(names)) == len(names)
        for each in types:
            assert each.offerings
            assert all(offering.capacity_type for offering in each.offerings)
            assert each.capacity.keys() >= {"cpu", "memory", "pods"}

    async def test_a_new_instance_has_not_drifted(self, world: World) -> None:
        claim = world.claim()
        made = await world.launched(claim)
        status = claim.status.model_copy(update={"provider_id": made.provider_id})

        assert await world.provider.is_drifted(claim.model_copy(update={"status": status})) == ""

    async def test_the_zone_asked_for_is_kept(self, world: World) -> None:
        need(world, Ability.ZONES)

        for number, zone in enumerate(world.zones):
            made = await world.launched(world.claim(f"ws{number}", zones=[zone]))
            assert made.zone == zone

    async def test_the_capacity_type_asked_for_is_kept(self, world: World) -> None:
        need(world, Ability.SPOT)

        for kind in (labels.CAPACITY_SPOT, labels.CAPACITY_ON_DEMAND):
            made = await world.launched(world.claim(f"ws{kind[:2]}", capacity_types=[kind]))
            assert made.capacity_type == kind

    async def test_a_claim_of_kaito_is_not_served_by_spot_unasked(self, world: World) -> None:
        need(world, Ability.SPOT)

        made = await world.launched(world.claim())

        assert made.capacity_type != labels.CAPACITY_SPOT

    async def test_a_node_boots_closed_and_labelled(self, world: World) -> None:
        need(world, Ability.NODES)
        claim = world.claim(
            taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            startupTaints=[{"key": "example.com/warm", "effect": "NoSchedule"}],
        )

        node = await world.node_of(await world.launched(claim))

        assert {(taint.key, taint.effect) for taint in node.spec.taints} >= {
            (labels.UNREGISTERED_TAINT, "NoExecute"),
            ("sku", "NoSchedule"),
            ("example.com/warm", "NoSchedule"),
        }
        assert claim.metadata.labels.items() <= node.metadata.labels.items()
        assert world.provider.claim_of(node) in {"", claim.metadata.name}

    async def test_many_claims_cost_few_calls(self, world: World) -> None:
        need(world, Ability.COUNTED)
        claims = [world.claim(f"ws{n}") for n in range(CLAIMS_AT_ONCE)]
        world.calls.reads = world.calls.writes = 0

        made = await world.all_launched(claims)

        assert all(isinstance(each, Instance) for each in made)
        assert world.calls.writes == len(claims)
        assert world.calls.reads <= world.reads_to_create * len(claims)
        world.calls.reads = world.calls.writes = 0

        await world.gone(*claims)

        assert world.calls.writes == len(claims)
        assert world.calls.reads <= world.reads_to_delete * len(claims)
