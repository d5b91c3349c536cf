"""What keeps claims true beside their life: age, size, labels, and when pods came and went."""

from __future__ import annotations

from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from gpu_provisioner import metrics
from gpu_provisioner.nodeclaim.consistency import Consistency
from gpu_provisioner.nodeclaim.expiration import Expiration
from gpu_provisioner.nodeclaim.hydration import Hydration
from kube.controller import Result
from kube.objects import NODES
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World

LABEL = "kaito.sh/kaitonodeclass"


def disrupted(reason: str) -> float:
    return metrics.CLAIMS_DISRUPTED.labels(reason, "", "on-demand", "", "forceful")._value.get()  # type: ignore[no-any-return]


async def expire(world: World) -> Result:
    return await Expiration(world.shared, world.stores).reconcile(world.claim())


async def test_case_58_a_claim_waits_for_what_is_left_of_its_age(world: World) -> None:
    await world.add_ready(expireAfter="2h")
    world.clock.advance(3600)

    assert (await expire(world)).requeue_after == 3600.0
    assert not world.claim().deleting


async def test_case_58_a_claim_that_is_too_old_is_deleted_and_counted_once(world: World) -> None:
    await world.add_ready(expireAfter="2h")
    world.clock.advance(7200)
    seen, before = world.claim(), disrupted("expired")

    await expire(world)
    await Expiration(world.shared, world.stores).reconcile(seen)  # by a cache that is behind
    await expire(world)

    assert world.claim().deleting
    assert disrupted("expired") == before + 1
    assert world.events.reasons().count("Expired") == 1


async def test_pods_that_have_to_move_are_counted(world: World) -> None:
    await world.add_ready(expireAfter="2h")
    world.kube.add(objects.pod_manifest("p"))
    world.kube.add(objects.pod_manifest("daemon", owner="DaemonSet"))
    world.kube.add(objects.pod_manifest("done", phase="Succeeded"))
    labels = ("expired", "", "on-demand", "", "forceful")
    before = metrics.PODS_DISRUPTION_INITIATED.labels(*labels)._value.get()
    world.clock.advance(7200)

    await expire(world)

    assert metrics.PODS_DISRUPTION_INITIATED.labels(*labels)._value.get() == before + 1


async def test_case_58_never_is_never(world: World) -> None:
    await world.add_ready(expireAfter="Never")
    world.clock.advance(10 * 365 * 86400)

    assert (await expire(world)).requeue_after is None
    assert not world.claim().deleting


async def check(world: World) -> Result:
    return await Consistency(world.shared, world.stores).reconcile(world.claim())


def capacity(world: World, **amounts: str) -> None:
    world.kube.change(NODES, "ws1", {"status": {"capacity": {"cpu": "8", **amounts}}})


async def ready_with(world: World, **requests: str) -> None:
    world.add_claim(resources={"requests": requests})
    await world.reconcile()
    provider_id = world.claim().status.provider_id
    offered = {"cpu": "8", "nvidia.com/gpu": "1"}
    world.kube.add(objects.node_manifest(provider_id, allocatable=offered))
    await world.reconcile()
    await world.reconcile()
    assert world.claim().is_true("Ready")


@pytest.mark.parametrize(
    ("cpu", "status"),
    [
        pytest.param("8", "True", id="all of it"),
        pytest.param("7200m", "True", id="nine tenths"),
        pytest.param("7100m", "False", id="less than nine tenths"),
    ],
)
async def test_case_60_a_node_that_is_smaller_than_promised_is_told_of(
    world: World, cpu: str, status: str
) -> None:
    await ready_with(world, cpu="1")
    capacity(world, cpu=cpu)

    assert (await check(world)).requeue_after == 600.0

    assert world.condition("ConsistentStateFound").status == status
    assert ("FailedConsistencyCheck" in world.events.reasons()) is (status == "False")


async def test_case_60_what_the_claim_did_not_ask_for_does_not_matter(world: World) -> None:
    await ready_with(world, storage="100Gi")
    capacity(world, cpu="1")

    await check(world)

    assert world.claim().is_true("ConsistentStateFound")


async def test_case_60_the_message_tells_what_is_missing_and_is_written_once(world: World) -> None:
    await ready_with(world, **{"nvidia.com/gpu": "1"})
    capacity(world)
    await check(world)
    written = world.kube.writes

    await check(world)

    assert world.condition("ConsistentStateFound").message == (
        "expected 1 of resource nvidia.com/gpu, but found 0 (0.0% of expected)"
    )
    assert world.claim().is_true("Ready")
    assert world.kube.writes == written


async def test_case_60_a_node_that_is_still_booting_is_not_measured(world: World) -> None:
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id, ready=False))
    written = world.kube.writes

    assert (await check(world)).requeue_after is None
    assert world.kube.writes == written


async def hydrate(world: World) -> None:
    await Hydration(world.shared, world.stores).reconcile(world.claim())


async def test_case_62_old_objects_get_the_label_of_their_node_class(world: World) -> None:
    await world.add_ready()
    bare: dict[str, Any] = {"metadata": {"labels": {LABEL: None}}}
    world.kube.change(NODE_CLAIMS, "ws1", bare)
    world.kube.change(NODES, "ws1", bare)

    await hydrate(world)

    assert world.claim().metadata.labels[LABEL] == "default"
    assert world.node().metadata.labels[LABEL] == "default"
    written = world.kube.writes
    await hydrate(world)
    assert world.kube.writes == written


async def test_case_62_a_node_that_is_not_registered_yet_is_left_to_registration(
    world: World,
) -> None:
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id))

    await hydrate(world)

    assert LABEL not in world.node().metadata.labels
