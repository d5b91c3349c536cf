"""Claims without instances, instances without claims."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from pydantic import ValidationError

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CloudUnavailableError
from gpu_provisioner import bounded
from gpu_provisioner.nodeclaim import upkeep
from kube.errors import ServerError
from kube.objects import NODES
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World

NOT_READY = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}


async def lose_instance(world: World, name: str = "ws1") -> None:
    world.cloud.loses(world.claim(name).status.provider_id)


async def test_a_claim_whose_instance_is_gone_is_deleted(world: World) -> None:
    await world.add_ready()
    await lose_instance(world)
    world.kube.change(NODES, "ws1", NOT_READY)

    await world.collect_garbage()

    assert world.claim().deleting


async def test_so_is_one_whose_node_object_is_gone_too(world: World) -> None:
    await world.add_ready()
    await lose_instance(world)
    world.kube.vanish(NODES, "ws1")

    await world.collect_garbage()

    assert world.claim().deleting


async def test_a_ready_node_is_believed_more_than_the_cloud(world: World) -> None:
    await world.add_ready()
    await lose_instance(world)

    await world.collect_garbage()

    assert not world.claim().deleting


async def test_a_claim_that_has_not_registered_is_left_to_its_own_clock(world: World) -> None:
    await world.add_launched()
    await lose_instance(world)

    await world.collect_garbage()

    assert not world.claim().deleting


async def test_nothing_is_concluded_from_a_cloud_that_does_not_answer(world: World) -> None:
    await world.add_ready()
    world.kube.change(NODES, "ws1", NOT_READY)

    async def unavailable() -> list[object]:
        raise CloudUnavailableError("throttled")

    world.cloud.list = unavailable  # type: ignore[method-assign,assignment]
    with pytest.raises(CloudUnavailableError):
        await world.collect_garbage()

    assert not world.claim().deleting


async def test_an_instance_without_a_claim_goes_with_its_node_once_it_is_old_enough(
    world: World,
) -> None:
    provider_id = await world.add_launched()
    world.kube.vanish(NODE_CLAIMS, "ws1")
    world.kube.add(objects.node_manifest(provider_id))
    world.clock.advance(29)
    await world.collect_garbage()
    assert len(world.cloud.instances) == 1

    world.clock.advance(1)
    await world.collect_garbage()

    assert world.cloud.instances == {}
    assert not world.has_node()


async def test_a_new_claim_of_the_same_name_does_not_adopt_the_old_instance(world: World) -> None:
    await world.add_launched()
    world.kube.vanish(NODE_CLAIMS, "ws1")
    world.add_claim()
    world.clock.advance(60)

    await world.collect_garbage()

    assert world.cloud.instances == {}
    assert world.has_claim()


async def test_an_instance_whose_claim_the_cache_has_not_seen_is_kept(world: World) -> None:
    await world.add_launched()
    world.clock.advance(60)
    behind = world.stores.claims.remove(world.claim().metadata.key)
    assert behind is not None

    await world.collect_garbage()

    assert len(world.cloud.instances) == 1


async def test_an_instance_of_a_claim_that_is_ending_is_left_to_the_claim(world: World) -> None:
    await world.add_launched()
    await world.kube.delete(NODE_CLAIMS, "ws1")
    world.clock.advance(60)

    await world.collect_garbage()

    assert len(world.cloud.instances) == 1


async def test_many_are_collected_at_once(world: World) -> None:
    for number in range(20):
        await world.add_launched(f"ws{number}")
        world.kube.vanish(NODE_CLAIMS, f"ws{number}")
    world.clock.advance(60)

    await world.collect_garbage()

    assert world.cloud.instances == {}


async def test_an_instance_whose_claim_does_not_decode_is_kept(world: World) -> None:
    """Neither the cache nor anybody else can read it; that is no sign of its end."""
    await world.add_launched()
    await world.add_launched("ws2")
    key = world.claim().metadata.key
    world.kube.vanish(NODE_CLAIMS, "ws1")
    world.kube.vanish(NODE_CLAIMS, "ws2")
    world.clock.advance(60)

    await upkeep.garbage_collection(world.shared, world.stores, lambda: {key})()

    assert [each.claim_name for each in world.cloud.instances.values()] == ["ws1"]


async def test_a_claim_that_no_longer_decodes_is_left_alone_too(world: World) -> None:
    """What the cache holds of it is its last readable state."""
    await world.add_ready()
    await lose_instance(world)
    world.kube.change(NODES, "ws1", NOT_READY)
    key = world.claim().metadata.key

    await upkeep.garbage_collection(world.shared, world.stores, lambda: {key})()

    assert not world.claim().deleting


async def test_nor_is_one_that_became_unreadable_just_now(world: World) -> None:
    await world.add_launched()
    world.stores.claims.remove(world.claim().metadata.key)
    with pytest.raises(ValidationError):
        world.kube.change(NODE_CLAIMS, "ws1", {"spec": {"requirements": "nonsense"}})
    world.clock.advance(60)

    await world.collect_garbage()

    assert len(world.cloud.instances) == 1


async def test_a_machine_that_has_no_name_yet_is_its_claims_by_uid(world: World) -> None:
    await world.add_ready()
    (uid,) = world.cloud.instances
    world.cloud.instances[uid] = replace(world.cloud.instances[uid], provider_id="")
    world.kube.change(NODES, "ws1", NOT_READY)
    world.clock.advance(60)

    await world.collect_garbage()
    assert not world.claim().deleting
    assert len(world.cloud.instances) == 1

    world.kube.vanish(NODE_CLAIMS, "ws1")
    await world.collect_garbage()
    assert world.cloud.instances == {}


async def test_one_that_fails_does_not_keep_the_others(world: World) -> None:
    for number in range(30):
        await world.add_launched(f"ws{number}")
        world.kube.vanish(NODE_CLAIMS, f"ws{number}")
    world.clock.advance(60)
    world.cloud.fails_next_delete(CloudUnavailableError("throttled"))

    with pytest.raises(ExceptionGroup) as failed:
        await world.collect_garbage()

    assert [type(each) for each in failed.value.exceptions] == [CloudUnavailableError]
    assert len(world.cloud.instances) == 1


async def test_a_claim_that_cannot_be_deleted_does_not_keep_instances_alive(world: World) -> None:
    await world.add_ready()
    await lose_instance(world)
    world.kube.change(NODES, "ws1", NOT_READY)
    await world.add_launched("ws2")
    world.kube.vanish(NODE_CLAIMS, "ws2")
    world.clock.advance(60)
    world.kube.refuse_next("delete", ServerError(500, "InternalError", "etcd is away"))

    with pytest.raises(ExceptionGroup):
        await world.collect_garbage()

    assert world.cloud.instances == {}


async def test_no_more_than_twenty_are_worked_on_at_once() -> None:
    running, most = 0, 0

    async def work(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await bounded.each(range(100), work)

    assert most == 20


async def test_claims_that_are_fine_cost_no_request_at_all(world: World) -> None:
    for number in range(5):
        await world.add_ready(f"ws{number}")
    world.clock.advance(60)
    world.kube.refuse_next("get", ServerError(500, "InternalError", "not to be asked"))
    written = world.kube.writes

    await world.collect_garbage()

    assert world.kube.writes == written


async def test_why_a_claim_was_collected_is_told(world: World) -> None:
    await world.add_ready()
    provider_id = world.claim().status.provider_id
    await lose_instance(world)
    world.kube.change(NODES, "ws1", NOT_READY)

    await world.collect_garbage()

    (told,) = [each for each in world.events.told if each.reason == "InstanceGone"]
    assert told.message == f"the cloud has no instance {provider_id} any more"
