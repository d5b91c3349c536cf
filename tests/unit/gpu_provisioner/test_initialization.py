"""Initialized: the Node can take work, or the first thing that it lacks for it."""

from __future__ import annotations

from typing import Any

import pytest

from kube.objects import NODES
from tests.fakes import objects
from tests.unit.gpu_provisioner.conftest import World


async def registered(world: World, node: dict[str, Any] | None = None, **spec: Any) -> None:
    provider_id = await world.add_launched(**spec)
    world.kube.add(objects.node_manifest(provider_id, **(node or {})))
    await world.reconcile()
    assert world.claim().is_true("Registered")
    await world.reconcile()


async def test_a_ready_node_is_initialized_and_the_claim_ready(world: World) -> None:
    await registered(world)

    assert world.claim().is_true("Initialized")
    assert world.claim().is_true("Ready")
    assert world.node().metadata.labels["karpenter.sh/initialized"] == "true"


async def test_a_node_that_has_not_registered_is_not_asked(world: World) -> None:
    await world.add_launched()

    await world.reconcile()

    assert world.condition("Initialized").reason == "AwaitingReconciliation"


async def test_a_node_that_is_not_ready_is_waited_for(world: World) -> None:
    await registered(world, {"ready": False})
    initialized = world.condition("Initialized")
    assert (initialized.status, initialized.reason, initialized.message) == (
        "Unknown",
        "NodeNotReady",
        "Node status is NotReady",
    )

    world.kube.change(
        NODES, "ws1", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    )
    await world.reconcile()

    assert world.claim().is_true("Ready")


async def test_a_startup_taint_is_waited_for_by_name(world: World) -> None:
    await registered(world, startupTaints=[{"key": "warm", "value": "up", "effect": "NoExecute"}])
    initialized = world.condition("Initialized")
    assert initialized.reason == "StartupTaintsExist"
    assert initialized.message == 'StartupTaint "warm=up:NoExecute" still exists'

    world.kube.change(NODES, "ws1", {"spec": {"taints": []}})
    await world.reconcile()

    assert world.claim().is_true("Initialized")


@pytest.mark.parametrize(
    ("taint", "blocks"),
    [
        pytest.param("node.kubernetes.io/not-ready::NoSchedule", True, id="not-ready schedule"),
        pytest.param("node.kubernetes.io/not-ready::NoExecute", True, id="not-ready execute"),
        pytest.param("node.kubernetes.io/unreachable::NoSchedule", True, id="unreachable"),
        pytest.param(
            "node.cloudprovider.kubernetes.io/uninitialized:true:NoSchedule", True, id="cloud"
        ),
        pytest.param("readiness.k8s.io/network:x:NoSchedule", True, id="readiness gate"),
        pytest.param("node.kubernetes.io/unreachable::NoExecute", False, id="another effect"),
        pytest.param("sku:gpu:NoSchedule", False, id="of the user"),
    ],
)
async def test_taints_that_go_by_themselves_are_waited_for(
    world: World, taint: str, blocks: bool
) -> None:
    key, value, effect = taint.split(":")
    entry = {"key": key, "value": value, "effect": effect}
    await registered(world, {"taints": [entry]})

    assert world.claim().is_true("Initialized") is not blocks
    if blocks:
        initialized = world.condition("Initialized")
        assert initialized.reason == "KnownEphemeralTaintsExist"
        assert initialized.message == f'KnownEphemeralTaint "{key}={value}:{effect}" still exists'
        world.kube.change(NODES, "ws1", {"spec": {"taints": []}})
        await world.reconcile()
        assert world.claim().is_true("Initialized")


@pytest.mark.parametrize("allocatable", [{}, {"nvidia.com/gpu": "0"}])
async def test_a_resource_that_does_not_turn_up_is_named(
    world: World, allocatable: dict[str, str]
) -> None:
    await registered(
        world,
        {"allocatable": {"cpu": "8", **allocatable}},
        resources={"requests": {"cpu": "1", "nvidia.com/gpu": "1"}},
    )
    initialized = world.condition("Initialized")
    assert initialized.reason == "ResourceNotRegistered"
    assert initialized.message == 'Resource "nvidia.com/gpu" was requested but not registered'

    world.kube.change(NODES, "ws1", {"status": {"allocatable": {"nvidia.com/gpu": "1"}}})
    await world.reconcile()

    assert world.claim().is_true("Initialized")


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param({"storage": "1Ti"}, id="the disk"),
        pytest.param({"nvidia.com/gpu": "0"}, id="none of something"),
    ],
)
async def test_what_no_node_tells_is_not_waited_for(world: World, requests: dict[str, str]) -> None:
    await registered(world, resources={"requests": requests})

    assert world.claim().is_true("Initialized")
