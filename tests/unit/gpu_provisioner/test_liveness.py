"""A claim that gets nowhere is given up in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudproviders.errors import CloudUnavailableError, CreateError
from cloudproviders.provider import Pending
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
    why, told = world.events.told  # the reason once, whatever the number of tries
    assert (why.reason, why.message) == ("Quota", "none left")
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


async def test_a_gpu_that_never_turns_up_is_given_up_and_the_claim_says_what_lacked(
    world: World,
) -> None:
    provider_id = await world.add_launched()
    world.clock.advance(14 * 60)
    world.kube.add(objects.node_manifest(provider_id, allocatable={"cpu": "8"}))
    await world.reconcile()
    assert (await world.reconcile()).requeue_after == 600

    world.clock.advance(599)
    await world.reconcile()
    assert not world.claim().deleting

    world.clock.advance(1)
    await world.reconcile()
    assert world.claim().deleting
    told = world.events.told[-1]
    assert told.reason == "InitializationTimeout"
    assert told.message == (
        'not Initialized after 600 s: ResourceNotRegistered: Resource "nvidia.com/gpu" was'
        " requested but not registered: Node is Ready, but advertises 0 of 1 nvidia.com/gpu of"
        " instance type fake-gpu-1: driver or device plugin is missing or fails; fake-gpu-1 in"
        " fake-a: see the pods of driver and device plugin on ws1"
    )


@pytest.mark.parametrize("limit", [0.0, -1.0])
async def test_no_limit_waits_for_ever(world: World, limit: float) -> None:
    world.timings = replace(
        world.timings,
        launch_timeout=limit,
        registration_timeout=limit,
        initialization_timeout=limit,
    )
    world.add_claim("stuck")
    world.clock.advance(30 * 24 * 3600)
    world.cloud.refuses_next(CreateError("Quota", "none left"))
    with pytest.raises(CreateError):
        await world.reconcile("stuck")
    provider_id = await world.add_launched()
    world.clock.advance(30 * 24 * 3600)
    world.kube.add(objects.node_manifest(provider_id, ready=False))
    await world.reconcile()
    world.clock.advance(30 * 24 * 3600)

    result = await world.reconcile()

    assert not world.claim().deleting
    assert not world.claim("stuck").deleting
    assert result.requeue_after is None


def at_work(seconds: float) -> Pending:
    return Pending(message=f"agent pool ws1: Creating, {seconds:g} s", look_again=10)


async def test_an_order_that_the_cloud_works_on_has_the_time_of_registration(world: World) -> None:
    world.add_claim()
    world.cloud.is_at_work(at_work(1), at_work(600), at_work(900))
    assert (await world.reconcile()).requeue_after == 10

    world.clock.advance(600)
    await world.reconcile()
    assert not world.claim().deleting

    world.clock.advance(300)
    await world.reconcile()
    assert world.claim().deleting
    told = world.events.told[-1]
    assert told.reason == "RegistrationTimeout"
    assert told.message == (
        "not Registered after 900 s: Provisioning: agent pool ws1: Creating, 900 s"
    )


async def test_a_cloud_that_goes_away_over_an_order_does_not_undo_it(world: World) -> None:
    world.add_claim()
    world.cloud.is_at_work(at_work(1))
    await world.reconcile()
    world.restart()
    world.clock.advance(600)
    world.cloud.outage = CloudUnavailableError("503")

    with pytest.raises(CloudUnavailableError):
        await world.reconcile()

    assert not world.claim().deleting
    world.cloud.outage = None
    await world.reconcile()
    assert world.claim().is_true("Launched")


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
