"""Initialized: the Node can take work, or the first thing that it lacks for it."""

from __future__ import annotations

from typing import Any

import pytest

from apis.gpu import GPU
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CloudUnavailableError
from cloudproviders.instancetype import InstanceType
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
    assert initialized.message == (
        'Resource "nvidia.com/gpu" was requested but not registered: Node is Ready, but advertises'
        " 0 of 1 nvidia.com/gpu of instance type fake-gpu-1: driver or device plugin is missing or"
        " fails"
    )

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


async def test_the_gpus_of_the_instance_type_are_waited_for_though_nobody_named_them(
    world: World,
) -> None:
    """KAITO's claims ask for a disk alone."""
    world.cloud.capacity = {"cpu": "96", "nvidia.com/gpu": "8"}
    await registered(
        world,
        {"allocatable": {"cpu": "96", "nvidia.com/gpu": "7"}},
        resources={"requests": {"storage": "1Ti"}},
    )
    initialized = world.condition("Initialized")
    assert initialized.reason == "ResourceNotRegistered"
    assert "advertises 7 of 8 nvidia.com/gpu of instance type fake-gpu-1" in initialized.message

    world.kube.change(NODES, "ws1", {"status": {"allocatable": {"nvidia.com/gpu": "8"}}})
    await world.reconcile()

    assert world.claim().is_true("Initialized")


@pytest.mark.parametrize(
    ("capacity", "allocatable"),
    [
        pytest.param({}, {"cpu": "8"}, id="a type of which nobody told the GPUs"),
        pytest.param({"cpu": "8"}, {"cpu": "8"}, id="a type without"),
        pytest.param({"nvidia.com/gpu": "8"}, {"nvidia.com/mig-1g.10gb": "56"}, id="cut up by MIG"),
        pytest.param({"nvidia.com/gpu": "1"}, {"nvidia.com/gpu": "10"}, id="shared in time"),
        pytest.param({"amd.com/gpu": "8"}, {"amd.com/gpu": "8"}, id="of another vendor"),
    ],
)
async def test_no_gpus_are_missing(
    world: World, capacity: dict[str, str], allocatable: dict[str, str]
) -> None:
    world.cloud.capacity = capacity
    await registered(world, {"allocatable": {"cpu": "8", **allocatable}})

    assert world.claim().is_true("Initialized")


async def test_devices_of_a_dra_driver_are_no_resource(world: World) -> None:
    world.add_claim()
    drivers = {"karpenter.sh/requested-dra-drivers": "gpu.nvidia.com"}
    world.kube.change(NODE_CLAIMS, "ws1", {"metadata": {"annotations": drivers}})
    await world.reconcile()
    provider_id = world.claim().status.provider_id
    world.kube.add(objects.node_manifest(provider_id, allocatable={"cpu": "8"}))
    await world.reconcile()
    await world.reconcile()

    assert world.claim().is_true("Initialized")


@pytest.mark.parametrize(
    ("product", "contradicted"),
    [
        ("Tesla-T4", True),
        ("NVIDIA-A10G", True),
        ("NVIDIA-A10-24Q", False),
        ("NVIDIA-A10", False),
        ("", False),
    ],
)
async def test_a_gpu_of_another_model_is_told(
    world: World, product: str, contradicted: bool
) -> None:
    world.cloud.types = (InstanceType(name="fake-gpu-1", gpu=GPU(1, "NVIDIA A10")),)
    await registered(world, {"labels": {"nvidia.com/gpu.product": product}})

    assert world.claim().is_true("Initialized") is not contradicted
    if contradicted:
        said = world.condition("Initialized")
        assert said.reason == "GPUModelMismatch"
        assert said.message == (
            f"the node has {product}, but instance type fake-gpu-1 has NVIDIA A10"
        )


async def test_a_catalogue_that_cannot_be_had_now_is_asked_again(world: World) -> None:
    provider_id = await world.add_launched()
    product = {"nvidia.com/gpu.product": "NVIDIA-A10"}
    world.kube.add(objects.node_manifest(provider_id, labels=product))
    world.cloud.outage = CloudUnavailableError("503")
    with pytest.raises(CloudUnavailableError):
        await world.reconcile()

    world.cloud.outage = None
    await world.reconcile()

    assert world.claim().is_true("Ready")
