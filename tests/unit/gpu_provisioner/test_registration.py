"""Registered: a Node has joined for the claim and carries what the claim says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.errors import CloudUnavailableError
from kube.errors import ConflictError
from kube.objects import NODES, Node
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World


async def test_the_node_with_the_provider_id_is_the_claims(world: World) -> None:
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id, "node-7"))

    await world.reconcile()

    assert world.claim().is_true("Registered")
    assert world.claim().status.node_name == "node-7"
    assert world.node("node-7").metadata.labels["karpenter.sh/registered"] == "true"


async def test_another_node_is_not(world: World) -> None:
    await world.add_launched()
    world.kube.add(objects.node_manifest("fake:///another/1"))

    await world.reconcile()

    registered = world.condition("Registered")
    assert (registered.status, registered.reason, registered.message) == (
        "Unknown",
        "NodeNotFound",
        "Node not registered with cluster",
    )
    assert world.node().metadata.finalizers == ()


async def test_two_nodes_with_the_provider_id_are_none_until_the_claim_goes(world: World) -> None:
    provider_id = await world.add_launched()
    for name in ("a", "b"):
        world.kube.add(objects.node_manifest(provider_id, name))
    await world.reconcile()
    world.kube.vanish(NODES, "b")

    await world.reconcile()

    registered = world.condition("Registered")
    assert (registered.status, registered.reason) == ("False", "MultipleNodesFound")
    assert world.condition("Ready").status == "False"


async def test_labels_annotations_taints_owner_and_finalizer_are_synced(world: World) -> None:
    world.add_claim(
        labels={"kaito.sh/workspace": "phi"},
        taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        startupTaints=[{"key": "warm", "effect": "NoExecute"}],
    )
    world.kube.change(
        NODE_CLAIMS, "ws1", {"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}}
    )
    await world.reconcile()
    world.kube.add(
        objects.node_manifest(
            world.claim().status.provider_id,
            labels={"own": "label"},
            annotations={"own": "annotation"},
            taints=[
                {"key": "karpenter.sh/unregistered", "effect": "NoExecute"},
                {"key": "own", "effect": "NoSchedule"},
                {"key": "sku", "value": "other", "effect": "NoSchedule"},
            ],
        )
    )

    await world.reconcile()

    node, claim = world.node(), world.claim()
    assert node.metadata.labels == {
        **claim.metadata.labels,
        "own": "label",
        "karpenter.sh/registered": "true",
    }
    assert node.metadata.annotations == {
        "own": "annotation",
        "karpenter.sh/do-not-disrupt": "true",
    }
    assert [str(taint) for taint in node.spec.taints] == [
        "own=:NoSchedule",
        "sku=other:NoSchedule",
        "warm=:NoExecute",
    ]
    assert node.metadata.finalizers == ("karpenter.sh/termination",)
    (owner,) = node.metadata.owner_references
    assert (owner.api_version, owner.kind, owner.name, owner.uid) == (
        "karpenter.sh/v1",
        "NodeClaim",
        "ws1",
        claim.metadata.uid,
    )
    assert owner.block_owner_deletion is True
    assert owner.controller is None


@pytest.mark.parametrize(
    ("value", "synced"),
    [pytest.param("true", False, id="true"), pytest.param("yes", True, id="anything else")],
)
async def test_a_node_may_ask_for_its_taints_to_be_left_alone(
    world: World, value: str, synced: bool
) -> None:
    world.add_claim(taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}])
    await world.reconcile()
    world.kube.add(
        objects.node_manifest(
            world.claim().status.provider_id,
            labels={"karpenter.sh/do-not-sync-taints": value},
        )
    )

    await world.reconcile()

    assert [taint.key for taint in world.node().spec.taints] == (["sku"] if synced else [])


async def test_a_node_without_the_unregistered_taint_registers_with_a_warning(
    world: World,
) -> None:
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id, taints=[]))

    await world.reconcile()

    assert world.claim().is_true("Registered")
    assert world.events.reasons().count("UnregisteredTaintMissing") == 1


async def test_a_startup_taint_that_was_taken_off_stays_off_after_a_crash(world: World) -> None:
    world.add_claim(startupTaints=[{"key": "warm", "effect": "NoExecute"}])
    await world.reconcile()
    world.kube.add(objects.node_manifest(world.claim().status.provider_id))
    before = world.kube.manifest(NODE_CLAIMS, "ws1")
    await world.reconcile()
    world.kube.change(NODES, "ws1", {"spec": {"taints": []}})
    assert before is not None
    world.kube.add(before)  # the Node was written, the claim's status was lost

    await world.reconcile()

    assert world.claim().is_true("Registered")
    assert world.node().spec.taints == ()
    assert len(world.node().metadata.owner_references) == 1


async def test_what_was_reached_is_kept_when_the_node_cannot_be_written(world: World) -> None:
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id))
    world.kube.refuse_next("patch", ConflictError(409, "Conflict", "the kubelet was faster"))

    with pytest.raises(ConflictError):
        await world.reconcile()

    assert world.claim().is_true("Launched")
    await world.reconcile()
    assert world.claim().is_true("Registered")


async def test_a_node_on_its_way_out_does_not_register(world: World) -> None:
    provider_id = await world.add_launched()
    world.kube.add(
        objects.node_manifest(
            provider_id, finalizers=["other"], deletionTimestamp="2026-01-01T00:00:00Z"
        )
    )

    await world.reconcile()

    assert world.condition("Registered").reason == "NodeNotFound"


Answer = Mapping[str, str] | float | Exception | None


def hook(name: str, *answers: Answer) -> Callable[[NodeClaim, Node], Awaitable[Answer]]:
    """Answers one after the other; then always as the last one."""
    left = list(answers)

    async def ask(claim: NodeClaim, node: Node) -> Answer:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    ask.__name__ = name
    return ask


async def test_hooks_hold_the_node_until_all_have_passed_and_may_label_it(world: World) -> None:
    world.cloud.registration_hooks = (
        hook("network", 30.0, 7.0, None),
        hook("driver", 5.0, {"example.com/driver": "570"}),
        hook("passed", None),
    )
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id))

    assert (await world.reconcile()).requeue_after == 5
    held = world.condition("Registered")
    assert (held.status, held.reason) == ("Unknown", "RegistrationHookPending")
    assert held.message == "network, driver"
    assert [taint.key for taint in world.node().spec.taints] == ["karpenter.sh/unregistered"]

    assert (await world.reconcile()).requeue_after == 7
    assert world.condition("Registered").message == "network"
    assert world.claim().metadata.labels["example.com/driver"] == "570"
    assert "karpenter.sh/registered" not in world.node().metadata.labels

    await world.reconcile()
    assert world.claim().is_true("Registered")
    assert world.node().metadata.labels["example.com/driver"] == "570"
    assert world.node().spec.taints == ()


async def test_a_hook_that_fails_holds_the_node_and_is_asked_again(world: World) -> None:
    broken = CloudUnavailableError("503")
    world.cloud.registration_hooks = (hook("network", broken, None), hook("driver", 5.0, None))
    provider_id = await world.add_launched()
    world.kube.add(objects.node_manifest(provider_id))

    with pytest.raises(CloudUnavailableError):
        await world.reconcile()

    assert world.condition("Registered").message == "network, driver"
    assert not world.claim().is_true("Registered")
    await world.reconcile()
    assert world.claim().is_true("Registered")
