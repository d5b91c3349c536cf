"""A claim that gets nowhere is given up in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudproviders.errors import CreateError
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World


async def fails_to_launch(world: World) -> None:
    world.cloud.refuses_next(CreateError("Quota", "none left"))
    with pytest.raises(CreateError):
        await world.reconcile()


async def test_a_claim_that_cannot_be_launched_is_given_up_after_five_minutes(
    world: World,
) -> None:
    world.add_claim()
    await fails_to_launch(world)
    world.clock.advance(299)
    await fails_to_launch(world)
    assert not world.claim().deleting

    world.clock.advance(1)
    world.cloud.refuses_next(CreateError("Quota", "none left"))
    await world.reconcile()

    assert world.claim().deleting
    (told,) = world.events.told
    assert told.reason == "LaunchTimeout"
    assert told.message == "not Launched after 300 s: Quota: none left"


async def test_a_machine_that_does_not_join_is_given_up_and_deleted(world: World) -> None:
    await world.add_launched()
    world.clock.advance(14 * 60)
    assert (await world.reconcile()).requeue_after == 60

    world.clock.advance(60)
    await world.reconcile()
    assert world.claim().deleting
    assert world.events.reasons().count("RegistrationTimeout") == 1

    await world.reconcile()  # delete
    await world.reconcile()  # gone
    assert not world.has_claim()
    assert world.cloud.instances == {}


async def test_a_claim_that_registered_in_time_may_take_its_time_to_initialize(
    world: World,
) -> None:
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id, ready=False))
    await world.reconcile()
    world.clock.advance(24 * 3600)

    result = await world.reconcile()

    assert not world.claim().deleting
    assert result.requeue_after is None


async def test_both_limits_can_be_set(world: World) -> None:
    world.timings = replace(world.timings, launch_timeout=10, registration_timeout=7200)
    world.add_claim("slow")
    await world.reconcile("slow")
    world.clock.advance(3600)
    await world.reconcile("slow")
    assert not world.claim("slow").deleting

    world.add_claim("stuck")
    world.clock.advance(10)
    world.cloud.refuses_next(CreateError("Quota", "none left"))
    await world.reconcile("stuck")
    assert world.claim("stuck").deleting
