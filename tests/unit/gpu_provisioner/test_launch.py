"""Launched: an instance exists for the claim, or the reason why not."""

from __future__ import annotations

import msgspec
import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import (
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    NodeClassNotReadyError,
)
from cloudproviders.provider import Pending
from kube.errors import ConflictError, ServerError
from tests.unit.gpu_provisioner.conftest import World


async def test_a_claim_gets_one_instance_and_tells_of_it(world: World) -> None:
    world.add_claim(labels={"kaito.sh/workspace": "phi"})

    await world.reconcile()

    (instance,) = world.cloud.instances.values()
    claim = world.claim()
    assert claim.is_true("Launched")
    assert claim.status.provider_id == instance.provider_id
    assert claim.status.image_id == "image-1"
    assert claim.status.capacity == {"cpu": "8", "nvidia.com/gpu": "1"}
    assert claim.status.allocatable == {"cpu": "7", "nvidia.com/gpu": "1"}
    assert claim.metadata.labels == {
        "kaito.sh/workspace": "phi",
        "kaito.sh/kaitonodeclass": "default",
        "node.kubernetes.io/instance-type": "fake-gpu-1",
        "topology.kubernetes.io/zone": "fake-a",
        "karpenter.sh/capacity-type": "on-demand",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    }


async def test_what_changed_is_told_once(world: World) -> None:
    world.add_claim()

    await world.reconcile()
    await world.reconcile()

    told = [each for each in world.events.told if each.reason == "Launched"]
    assert [each.message for each in told] == [
        "Status condition transitioned, Type: Launched, Status: Unknown -> True, Reason: Launched"
    ]


async def test_the_first_conditions_are_dated_as_the_claim(world: World) -> None:
    world.add_claim()
    created = world.claim().metadata.creation_timestamp
    world.clock.advance(30)
    world.cloud.refuses_next(CreateError("Quota", "no more"))

    with pytest.raises(CreateError):
        await world.reconcile()

    for kind in ("Launched", "Registered", "Initialized", "Ready"):
        assert world.condition(kind).status == "Unknown"
        assert world.condition(kind).last_transition_time == created
    assert world.condition("Initialized").reason == "AwaitingReconciliation"


async def test_the_finalizer_is_stored_before_the_cloud_is_asked(world: World) -> None:
    world.add_claim()
    world.kube.refuse_next("patch", ConflictError(409, "Conflict", "somebody was faster"))

    with pytest.raises(ConflictError):
        await world.reconcile()

    assert world.cloud.made == []


async def test_a_crash_after_the_create_yields_no_second_instance(world: World) -> None:
    world.add_claim()
    await world.reconcile()  # as far as it goes
    manifest = world.kube.manifest(NODE_CLAIMS, "ws1")
    assert manifest is not None
    manifest["status"] = {}  # the status was never stored
    world.kube.add(manifest)

    await world.reconcile()

    assert len(world.cloud.made) == 1
    assert world.claim().is_true("Launched")


async def test_nothing_is_bought_for_a_claim_that_the_cache_does_not_know_to_be_ending(
    world: World,
) -> None:
    world.add_claim()
    world.cloud.refuses_next(InsufficientCapacityError("sold out"))
    await world.reconcile()
    ending = world.claim()
    assert ending.deleting
    behind = msgspec.structs.replace(ending.metadata, deletion_timestamp=None, resource_version="3")

    with pytest.raises(ConflictError):
        await world.lifecycle.reconcile(ending.model_copy(update={"metadata": behind}))

    assert world.cloud.made == []


async def test_labels_of_the_claim_win_over_those_of_the_cloud(world: World) -> None:
    world.add_claim(labels={"kubernetes.io/arch": "mine"})

    await world.reconcile()

    assert world.claim().metadata.labels["kubernetes.io/arch"] == "mine"


async def test_requirements_with_a_single_value_become_labels(world: World) -> None:
    world.add_claim(
        requirements=[
            {"key": "example.com/rack", "operator": "In", "values": ["7"]},
            {"key": "example.com/row", "operator": "In", "values": ["1", "2"]},
        ]
    )

    await world.reconcile()

    labels = world.claim().metadata.labels
    assert labels["example.com/rack"] == "7"
    assert "example.com/row" not in labels


@pytest.mark.parametrize(
    ("refusal", "event"),
    [
        pytest.param(
            InsufficientCapacityError("sold out"), "InsufficientCapacityError", id="no capacity"
        ),
        pytest.param(NodeClassNotReadyError("no class"), "NodeClassNotReady", id="class not ready"),
    ],
)
async def test_a_hopeless_claim_is_given_up_and_says_why(
    world: World, refusal: Exception, event: str
) -> None:
    world.add_claim()
    world.cloud.refuses_next(refusal)

    await world.reconcile()

    assert world.claim().deleting
    assert world.events.told == [("NodeClaim", "ws1", event, str(refusal))]
    launched = world.condition("Launched")
    assert (launched.status, launched.reason, launched.message) == ("Unknown", event, str(refusal))

    await world.reconcile()
    assert not world.has_claim()
    assert world.cloud.made == []


async def test_a_create_error_stands_on_the_claim_and_is_retried(world: World) -> None:
    world.add_claim()
    world.cloud.refuses_next(CreateError("QuotaExceeded", "32 cores of 30"))

    with pytest.raises(CreateError):
        await world.reconcile()

    launched = world.condition("Launched")
    assert launched.status == "Unknown"
    assert (launched.reason, launched.message) == ("QuotaExceeded", "32 cores of 30")
    assert not world.claim().deleting

    await world.reconcile()
    assert world.claim().is_true("Launched")


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(CloudUnavailableError("x" * 400), id="the cloud"),
        pytest.param(ServerError(500, "InternalError", "x" * 400), id="the API server"),
        pytest.param(TimeoutError("x" * 400), id="the network"),
    ],
)
async def test_any_other_failure_is_cut_to_what_a_condition_holds(
    world: World, failure: Exception
) -> None:
    world.add_claim()
    world.cloud.refuses_next(failure)

    with pytest.raises(type(failure)):
        await world.reconcile()

    launched = world.condition("Launched")
    assert (launched.status, launched.reason) == ("Unknown", "LaunchFailed")
    assert len(launched.message) == 303
    assert launched.message.endswith("...")


async def test_a_round_in_which_nothing_happens_writes_nothing(world: World) -> None:
    await world.add_ready()
    written = world.kube.writes

    await world.reconcile()

    assert world.kube.writes == written


def at_work(message: str) -> Pending:
    return Pending(message=message, look_again=5)


async def test_what_the_cloud_does_meanwhile_stands_on_the_claim(world: World) -> None:
    world.add_claim()
    world.cloud.is_at_work(at_work("agent pool ws1: Creating, 2 s"))

    assert (await world.reconcile()).requeue_after == 5

    launched = world.condition("Launched")
    assert (launched.status, launched.reason) == ("Unknown", "Provisioning")
    assert launched.message == "agent pool ws1: Creating, 2 s"
    assert world.claim().is_true("InstanceOrdered")
    assert not world.claim().is_true("Ready")

    await world.reconcile()
    assert world.claim().is_true("Launched")
    kinds = {each.type for each in world.claim().status.conditions}
    assert kinds == {"Launched", "Registered", "Initialized", "Ready"}


async def test_words_that_change_with_every_look_are_not_written_every_time(world: World) -> None:
    world.add_claim()
    world.cloud.is_at_work(*(at_work(f"Creating, {n} s") for n in range(0, 40, 5)))
    await world.reconcile()
    written = world.kube.writes

    for _ in range(7):
        world.clock.advance(5)
        await world.reconcile()

    assert world.kube.writes - written == 2
    assert world.condition("Launched").message == "Creating, 30 s"


async def test_an_order_that_comes_to_nothing_is_no_order_any_more(world: World) -> None:
    world.add_claim()
    world.cloud.is_at_work(at_work("Creating"))
    await world.reconcile()
    world.cloud.refuses_next(CreateError("QuotaExceeded", "none left"))

    with pytest.raises(CreateError):
        await world.reconcile()

    assert not world.claim().is_true("InstanceOrdered")
    assert world.condition("Launched").reason == "QuotaExceeded"


async def test_a_mistake_of_the_providers_own_is_told_without_its_text(world: World) -> None:
    world.add_claim()
    world.cloud.refuses_next(KeyError("a token, for all we know"))

    with pytest.raises(KeyError):
        await world.reconcile()

    launched = world.condition("Launched")
    assert launched.reason == "LaunchFailed"
    assert launched.message == "unexpected KeyError: see the provisioner's log"


async def test_a_refusal_of_every_rung_is_told_whole(world: World) -> None:
    told = "; ".join(f"type-{n}: sold out" for n in range(30))
    world.add_claim()
    world.cloud.refuses_next(InsufficientCapacityError(told))

    await world.reconcile()

    assert world.condition("Launched").message == told
    assert world.events.told[-1].message == told
