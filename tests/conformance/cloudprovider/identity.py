"""Rules of deleting, and of whose machine a machine is: name and uid, never the name alone."""

from __future__ import annotations

from contextlib import suppress

import pytest

from apis.karpenter.v1.nodeclaim import NodeClaim, NodeClaimSpec, NodeClaimStatus, NodeClassRef
from cloudproviders.errors import CreateError, NodeClaimNotFoundError
from cloudproviders.provider import Instance
from kube.meta import ObjectMeta
from tests.conformance.cloudprovider.launch import need
from tests.conformance.cloudprovider.refusals import outcome
from tests.conformance.cloudprovider.world import POLL_SECONDS, Ability, World


def bare(claim: NodeClaim) -> NodeClaim:
    """As much as garbage collection knows of a claim that is gone."""
    return NodeClaim(
        metadata=ObjectMeta(name=claim.metadata.name, uid=claim.metadata.uid),
        spec=NodeClaimSpec(
            node_class_ref=NodeClassRef(group="", kind="", name=""), requirements=()
        ),
        status=NodeClaimStatus(),
    )


class Identity:
    """Delete, adoption and foreigners."""

    async def test_delete_until_not_found_leaves_nothing(self, world: World) -> None:
        claim = world.claim()
        await world.launched(claim)

        await world.gone(claim)

        assert await world.machines() == []
        assert list(await world.provider.list()) == []

    async def test_what_is_going_is_listed_as_going(self, world: World) -> None:
        claim = world.claim()
        await world.launched(claim)
        try:
            await world.provider.delete(claim)
        except NodeClaimNotFoundError:
            pytest.skip("machines of this world are gone at once")

        listed = await world.provider.list()

        assert all(each.terminating for each in listed)
        await world.gone(claim)

    async def test_delete_repeated_is_cheap(self, world: World) -> None:
        need(world, Ability.COUNTED)
        claim = world.claim()
        await world.launched(claim)
        await world.provider.delete(claim)
        world.calls.writes = 0

        with suppress(NodeClaimNotFoundError):
            await world.provider.delete(claim)
            await world.provider.delete(claim)

        assert world.calls.writes == 0
        await world.gone(claim)

    async def test_delete_of_what_never_was_is_not_found(self, world: World) -> None:
        with pytest.raises(NodeClaimNotFoundError):
            await world.provider.delete(world.claim())

    async def test_delete_after_the_end_is_not_found(self, world: World) -> None:
        claim = world.claim()
        await world.launched(claim)
        await world.gone(claim)

        with pytest.raises(NodeClaimNotFoundError):
            await world.provider.delete(claim)

    async def test_delete_needs_no_more_than_name_and_uid(self, world: World) -> None:
        claim = world.claim()
        await world.launched(claim)
        await world.restart()

        await world.gone(bare(claim))

        assert await world.machines() == []

    async def test_delete_while_it_is_being_made_leaves_nothing(self, world: World) -> None:
        claim = world.claim()
        await world.provider.create(claim)

        await world.gone(bare(claim))
        await world.tick(POLL_SECONDS)

        assert await world.machines() == []

    async def test_create_after_the_end_makes_a_new_one(self, world: World) -> None:
        claim = world.claim()
        await world.launched(claim)
        await world.gone(claim)

        made = await world.launched(world.claim(uid="00000000-0000-4000-8000-000000000002"))

        assert made.claim_uid == "00000000-0000-4000-8000-000000000002"
        assert len(await world.machines()) == 1

    async def test_a_name_that_comes_again_does_not_inherit(self, world: World) -> None:
        old = world.claim(uid="00000000-0000-4000-8000-000000000001")
        new = world.claim(uid="00000000-0000-4000-8000-000000000002")
        await world.launched(old)

        with suppress(CreateError):  # the name is taken, or it does not matter here
            made = await world.provider.create(new)
            assert not isinstance(made, Instance) or made.claim_uid == new.metadata.uid

        assert len(await world.machines_of(old)) == 1
        assert old.metadata.uid in {each.claim_uid for each in await world.provider.list()}

    async def test_delete_spares_the_machine_of_an_older_claim_of_that_name(
        self, world: World
    ) -> None:
        old = world.claim(uid="00000000-0000-4000-8000-000000000001")
        await world.launched(old)

        with pytest.raises(NodeClaimNotFoundError):
            await world.provider.delete(world.claim(uid="00000000-0000-4000-8000-000000000002"))

        assert len(await world.machines_of(old)) == 1
        assert not any(each.terminating for each in await world.provider.list())

    async def test_what_is_not_ours_is_neither_seen_nor_touched(self, world: World) -> None:
        need(world, Ability.FOREIGN)
        foreign = await world.foreign_instance()
        claim = world.claim()
        await world.launched(claim)

        assert [each.claim_uid for each in await world.provider.list()] == [claim.metadata.uid]
        await world.gone(claim)

        assert [machine.id for machine in await world.machines()] == [foreign]

    async def test_a_name_that_somebody_else_holds_is_left_to_him(self, world: World) -> None:
        need(world, Ability.FOREIGN)
        claim = world.claim()
        foreign = await world.foreign_instance(claim.metadata.name)

        told = await outcome(world, claim)
        await world.gone(claim)

        assert isinstance(told, Instance | CreateError)
        assert isinstance(told, Instance) or claim.metadata.name in str(told)
        assert [machine.id for machine in await world.machines()] == [foreign]
