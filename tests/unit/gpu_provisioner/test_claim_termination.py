"""The end of a claim: its nodes first, then its instance, then the claim itself."""

from __future__ import annotations

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CloudUnavailableError
from kube.errors import ConflictError, InvalidError
from kube.objects import NODES
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud
from tests.unit.gpu_provisioner.conftest import World


async def delete(world: World, name: str = "ws1") -> None:
    await world.kube.delete(NODE_CLAIMS, name)


async def test_case_38_a_claim_that_was_never_launched_just_goes(world: World) -> None:
    world.add_claim()
    world.kube.change(
        NODE_CLAIMS, "ws1", {"metadata": {"finalizers": ["karpenter.sh/termination"]}}
    )
    await delete(world)

    await world.reconcile()

    assert not world.has_claim()


async def test_an_instance_whose_id_was_never_stored_is_not_leaked(world: World) -> None:
    await world.add_launched()
    world.kube.change(NODE_CLAIMS, "ws1", {"status": None})
    await delete(world)

    await world.reconcile()
    await world.reconcile()

    assert not world.has_claim()
    assert world.cloud.instances == {}


async def test_case_36_the_claim_waits_until_the_cloud_has_nothing_left(world: World) -> None:
    world.cloud = FakeCloud(world.clock, lingers=True)
    await world.add_launched()
    await delete(world)

    for _ in range(3):
        assert (await world.reconcile()).requeue_after == 5.0
        assert world.claim().is_true("InstanceTerminating")

    world.cloud.finish_terminating()
    await world.reconcile()
    assert not world.has_claim()


async def test_case_35_a_cloud_that_fails_keeps_the_claim(world: World) -> None:
    await world.add_launched()
    await delete(world)
    world.cloud.fails_next_delete(CloudUnavailableError("throttled"))

    with pytest.raises(CloudUnavailableError):
        await world.reconcile()

    assert world.claim().metadata.finalizers == ("karpenter.sh/termination",)
    (told,) = [each for each in world.events.told if each.reason == "FailedInstanceTermination"]
    assert told.message == "the cloud does not delete the instance: throttled"


async def test_a_cloud_that_is_mute_is_told_of_by_the_kind_of_its_silence(world: World) -> None:
    await world.add_launched()
    await delete(world)
    world.cloud.fails_next_delete(TimeoutError())

    with pytest.raises(TimeoutError):
        await world.reconcile()

    (told,) = [each for each in world.events.told if each.reason == "FailedInstanceTermination"]
    assert told.message == "the cloud does not delete the instance: TimeoutError"


async def test_nodes_go_before_the_instance(world: World) -> None:
    await world.add_ready()
    await delete(world)

    assert (await world.reconcile()).requeue_after is None

    assert world.node().metadata.deletion_timestamp is not None
    assert len(world.cloud.instances) == 1
    world.kube.vanish(NODES, "ws1")
    await world.reconcile()
    await world.reconcile()
    assert not world.has_claim()
    assert world.cloud.instances == {}


async def test_case_39_a_node_that_never_registered_is_left_alone(world: World) -> None:
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id))
    await delete(world)

    await world.reconcile()
    await world.reconcile()

    assert world.node().metadata.deletion_timestamp is None
    assert not world.has_claim()


async def test_a_registration_that_only_the_node_knows_of_still_drains_it(world: World) -> None:
    await world.add_ready()
    conditions = [{"type": "Registered", "status": "Unknown"}]
    world.kube.change(NODE_CLAIMS, "ws1", {"status": {"conditions": conditions}})
    await delete(world)

    await world.reconcile()

    assert world.node().metadata.deletion_timestamp is not None
    assert len(world.cloud.instances) == 1


async def test_a_grace_period_becomes_a_deadline_once(world: World) -> None:
    await world.add_ready(terminationGracePeriod="1h30m")
    await delete(world)

    await world.reconcile()

    stamp = "karpenter.sh/nodeclaim-termination-timestamp"
    assert world.claim().metadata.annotations[stamp] == "2026-01-01T01:30:00Z"
    told = [each.kind for each in world.events.told if each.reason.startswith("TerminationGrace")]
    assert told == ["NodeClaim", "Node"]
    world.clock.advance(600)
    await world.reconcile()
    assert world.claim().metadata.annotations[stamp] == "2026-01-01T01:30:00Z"


@pytest.mark.parametrize("annotations", [{}, {"a": "b"}])
async def test_without_a_grace_period_there_is_no_deadline(
    world: World, annotations: dict[str, str]
) -> None:
    await world.add_ready()
    world.kube.change(NODE_CLAIMS, "ws1", {"metadata": {"annotations": annotations}})
    await delete(world)

    await world.reconcile()

    assert world.claim().metadata.annotations == annotations


async def test_a_status_that_the_schema_no_longer_takes_does_not_hold_the_claim(
    world: World,
) -> None:
    await world.add_launched()
    await delete(world)
    world.kube.refuse_next("patch", InvalidError(422, "Invalid", "nodeClassRef.group is empty"))

    await world.reconcile()
    await world.reconcile()

    assert not world.has_claim()


async def test_the_finalizer_goes_only_by_who_saw_the_latest_claim(world: World) -> None:
    await world.add_launched()
    await delete(world)
    await world.reconcile()
    stale = world.claim()
    world.kube.change(NODE_CLAIMS, "ws1", {"metadata": {"labels": {"somebody": "else"}}})

    with pytest.raises(ConflictError):
        await world.lifecycle.reconcile(stale)

    assert world.has_claim()


async def test_a_claim_without_our_finalizer_is_not_ours_to_end(world: World) -> None:
    world.add_claim()
    world.kube.change(NODE_CLAIMS, "ws1", {"metadata": {"finalizers": ["example.com/other"]}})
    await delete(world)
    written = world.kube.writes

    await world.reconcile()

    assert world.kube.writes == written
