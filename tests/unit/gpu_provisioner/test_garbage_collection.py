"""Claims without instances, instances without claims."""

from __future__ import annotations

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CloudUnavailableError
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
