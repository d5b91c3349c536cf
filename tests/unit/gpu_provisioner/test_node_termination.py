"""The end of a Node: drain, volumes, instance, finalizer."""

from __future__ import annotations

from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CloudUnavailableError
from kube.errors import ForbiddenError, ServerError, TooManyRequestsError
from kube.objects import NODES, PODS
from tests.fakes import objects
from tests.fakes.cloud import FakeCloud
from tests.unit.gpu_provisioner.conftest import World

BUDGET = TooManyRequestsError(429, "TooManyRequests", "would violate the disruption budget")
STAMP = "karpenter.sh/nodeclaim-termination-timestamp"


async def ending(world: World, *pods: dict[str, Any], **spec: Any) -> None:
    """A node with pods, whose claim has been deleted."""
    await world.add_ready(**spec)
    for pod in pods:
        world.kube.add(pod)
    await world.kube.delete(NODE_CLAIMS, "ws1")
    await world.reconcile()
    assert world.node().metadata.deletion_timestamp is not None


def attach(world: World, volume: str = "pv-1") -> None:
    world.kube.add(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": f"attach-{volume}"},
            "spec": {"nodeName": "ws1", "source": {"persistentVolumeName": volume}},
        }
    )


async def run_out(world: World) -> None:
    """Rounds until the node is gone; time passes as each asks."""
    for _ in range(20):
        if not world.has_node():
            return
        world.clock.advance((await world.reconcile_node()).requeue_after or 0)
    raise AssertionError(f"{world.node()} does not end")


async def test_an_empty_node_goes_with_its_instance_and_its_claim(world: World) -> None:
    await ending(world)

    await run_out(world)
    await world.reconcile()

    assert world.cloud.instances == {}
    assert not world.has_claim()


async def test_a_node_that_is_deleted_by_hand_takes_its_claim_along(world: World) -> None:
    await world.add_ready()
    await world.kube.delete(NODES, "ws1")

    await world.reconcile_node()

    assert world.claim().deleting
    await run_out(world)
    assert world.cloud.instances == {}


async def test_new_pods_and_traffic_are_kept_away_at_once(world: World) -> None:
    await ending(world, objects.pod_manifest("p"))

    await world.reconcile_node()

    assert "karpenter.sh/disrupted=:NoSchedule" in [str(t) for t in world.node().spec.taints]
    balancers = "node.kubernetes.io/exclude-from-external-load-balancers"
    assert world.node().metadata.labels[balancers] == "karpenter"


async def test_pods_leave_before_the_instance_does(world: World) -> None:
    await ending(world, objects.pod_manifest("p"))

    result = await world.reconcile_node()

    pod = world.stores.pods.get("p", "default")
    assert pod is not None
    assert pod.metadata.deletion_timestamp is not None
    assert result.requeue_after == 1.0
    assert world.condition("Drained").reason == "Draining"
    world.clock.advance(30)
    await world.reconcile_node()
    assert len(world.cloud.instances) == 1

    world.kube.vanish(PODS, "p", "default")
    await run_out(world)
    assert world.cloud.instances == {}
    assert "Evicted" in world.events.reasons()


async def test_an_empty_node_is_not_believed_for_five_seconds(world: World) -> None:
    await ending(world)

    assert (await world.reconcile_node()).requeue_after == 5.0
    assert world.condition("Drained").status == "Unknown"
    world.clock.advance(5)
    await world.reconcile_node()

    assert world.claim().is_true("Drained")
    assert world.claim().is_true("VolumesDetached")
    assert world.cloud.instances == {}


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(BUDGET, id="a budget"),
        pytest.param(ServerError(500, "InternalError", "more than one budget"), id="two budgets"),
    ],
)
async def test_a_disruption_budget_holds_the_node_until_it_yields(
    world: World, refusal: Any
) -> None:
    await ending(world, objects.pod_manifest("p"))
    world.kube.guard("p", refusal)

    await world.reconcile_node()
    world.clock.advance(60)
    result = await world.reconcile_node()

    told = [each for each in world.events.told if each.reason == "FailedDraining"]
    assert f"default/p: {refusal.message}" in told[0].message
    assert result.requeue_after == 6.0
    assert world.stores.pods.get("p", "default").metadata.deletion_timestamp is None  # type: ignore[union-attr]

    world.kube.guard("p", None)
    await world.reconcile_node()
    world.kube.vanish(PODS, "p", "default")
    await run_out(world)


async def test_other_refusals_are_failures(world: World) -> None:
    await ending(world, objects.pod_manifest("p"))
    world.kube.guard("p", ForbiddenError(403, "Forbidden", "no such right"))

    with pytest.raises(ForbiddenError):
        await world.reconcile_node()


async def test_a_new_pod_of_the_same_name_is_not_evicted_for_the_old_one(world: World) -> None:
    await ending(world, objects.pod_manifest("p", metadata={"uid": "old"}))
    old = world.stores.pods.get("p", "default")
    world.kube.add(objects.pod_manifest("p", metadata={"uid": "new"}))
    assert old is not None
    world.stores.pods.put(old)  # the cache is behind

    await world.reconcile_node()

    pod = world.kube.manifest(PODS, "p", "default")
    assert pod is not None
    assert "deletionTimestamp" not in pod["metadata"]


async def test_at_the_deadline_budgets_are_not_asked(world: World) -> None:
    await ending(
        world,
        objects.pod_manifest("p", spec={"terminationGracePeriodSeconds": 60}),
        terminationGracePeriod="10m",
    )
    world.kube.guard("p", BUDGET)
    world.clock.advance(9 * 60 - 3)
    assert (await world.reconcile_node()).requeue_after == pytest.approx(3.1)

    world.clock.advance(4)
    await world.reconcile_node()

    pod = world.stores.pods.get("p", "default")
    assert pod is not None
    assert pod.metadata.deletion_timestamp is not None
    assert pod.metadata.deletion_timestamp.isoformat() == "2026-01-01T00:10:00+00:00"


async def test_volumes_are_waited_for(world: World) -> None:
    await ending(world)
    attach(world)
    await world.reconcile_node()
    world.clock.advance(5)

    assert (await world.reconcile_node()).requeue_after == 1.0
    assert world.condition("VolumesDetached").reason == "AwaitingVolumeDetachment"
    assert len(world.cloud.instances) == 1
    assert "AwaitingVolumeDetachment" in world.events.reasons()


async def test_but_not_those_of_pods_that_stay(world: World) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"volumeName": "pv-1"},
    }
    ephemeral = {**claim, "metadata": {"name": "p-scratch", "namespace": "default"}}
    ephemeral["spec"] = {"volumeName": "pv-2"}
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "scratch", "ephemeral": {}},
        {"name": "config", "configMap": {"name": "x"}},
    ]
    staying = {"tolerations": [{"operator": "Exists"}], "volumes": volumes}
    await ending(world, objects.pod_manifest("p", spec=staying))
    world.kube.add(claim)
    world.kube.add(ephemeral)
    attach(world, "pv-1")
    attach(world, "pv-2")

    await run_out(world)

    assert world.cloud.instances == {}


async def test_nor_past_the_deadline(world: World) -> None:
    await ending(world, terminationGracePeriod="1m")
    attach(world)
    await world.reconcile_node()
    world.clock.advance(60)

    await world.reconcile_node()

    detached = world.condition("VolumesDetached")
    assert (detached.status, detached.reason) == ("False", "TerminationGracePeriodElapsed")
    assert world.cloud.instances == {}


async def test_the_node_stays_until_the_cloud_has_nothing_left(world: World) -> None:
    world.cloud = FakeCloud(world.clock, lingers=True)
    await ending(world)
    await world.reconcile_node()
    world.clock.advance(5)

    assert (await world.reconcile_node()).requeue_after == 5.0
    assert world.claim().is_true("InstanceTerminating")
    assert (await world.reconcile_node()).requeue_after == 5.0

    world.cloud.finish_terminating()
    await world.reconcile_node()
    assert not world.has_node()


@pytest.mark.parametrize(
    ("ready", "goes"), [pytest.param(False, True, id="dead"), pytest.param(True, False, id="Ready")]
)
async def test_a_node_without_a_machine_is_not_drained_unless_it_is_ready(
    world: World, ready: bool, goes: bool
) -> None:
    await ending(world, objects.pod_manifest("p"))
    status = "True" if ready else "False"
    world.kube.change(
        NODES, "ws1", {"status": {"conditions": [{"type": "Ready", "status": status}]}}
    )
    world.cloud.loses(world.claim().status.provider_id)

    await world.reconcile_node()

    assert world.has_node() is not goes


async def test_a_cloud_that_does_not_answer_is_no_sign_of_death(world: World) -> None:
    await ending(world, objects.pod_manifest("p"))
    world.kube.change(NODES, "ws1", {"status": {"conditions": []}})

    async def unavailable(provider_id: str) -> Any:
        raise CloudUnavailableError("throttled")

    world.cloud.get = unavailable  # type: ignore[method-assign,assignment]
    with pytest.raises(CloudUnavailableError):
        await world.reconcile_node()

    assert world.has_node()


async def test_a_node_that_lost_its_claim_is_drained_and_let_go(world: World) -> None:
    await ending(world, objects.pod_manifest("p"))
    world.kube.vanish(NODE_CLAIMS, "ws1")

    await world.reconcile_node()
    assert world.has_node()
    world.kube.vanish(PODS, "p", "default")
    await world.reconcile_node()

    assert not world.has_node()


async def test_a_node_that_is_not_ending_is_left_alone(world: World) -> None:
    await world.add_ready()
    written = world.kube.writes

    await world.reconcile_node()

    assert world.kube.writes == written


async def test_waiting_writes_nothing(world: World) -> None:
    await ending(world, objects.pod_manifest("p"))
    world.kube.guard("p", BUDGET)
    await world.reconcile_node()
    written = world.kube.writes

    world.clock.advance(30)
    await world.reconcile_node()

    assert world.kube.writes == written
