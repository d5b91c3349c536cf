"""Cases 21 to 29: a Node is believed only once it can take work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.meta import Manifest
from kube.objects import NODES
from tests.fakes.cloud import FakeCloud
from tests.integration.gpu_provisioner.test_case_registration import registered
from tests.integration.gpu_provisioner.world import Cluster, eventually


async def create_joined(cluster: Cluster, node: dict[str, Any] | None = None, **spec: Any) -> None:
    await cluster.create_claim("ws1", **spec)
    await cluster.join(await cluster.launched("ws1"), "ws1", **(node or {}))


async def test_case_21_not_before_the_node_is_registered(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        await cluster.create_claim("ws1")
        provider_id = await cluster.launched("ws1")
        await cluster.join("fake:///another/1", "ws1")
        await asyncio.sleep(0.3)
        said = await cluster.says("ws1", "Initialized", "AwaitingReconciliation")
        assert said.status == "Unknown"
        await cluster.join(provider_id, "node-7")
        await cluster.ready("ws1")


async def told(cluster: Cluster, reason: str, message: str) -> None:
    said = await cluster.says("ws1", "Initialized", reason)
    assert said.status == "Unknown"
    assert said.message == message


async def clear_taints(cluster: Cluster) -> None:
    await cluster.client.patch(NODES, "ws1", {"spec": {"taints": None}})


async def set_status(cluster: Cluster, status: Manifest) -> None:
    await cluster.client.patch(NODES, "ws1", {"status": status}, subresource="status")


async def test_case_22_a_node_that_is_not_ready_is_waited_for(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        await create_joined(cluster, {"ready": False})
        await told(cluster, "NodeNotReady", "Node status is NotReady")
        await set_status(cluster, {"conditions": [{"type": "Ready", "status": "True"}]})
        await clear_taints(cluster)
        await cluster.ready("ws1")


@pytest.mark.parametrize("allocatable", [{"cpu": "8"}, {"cpu": "8", "example.com/nic": "0"}])
async def test_case_23_a_resource_that_was_asked_for_is_waited_for(
    cluster: Cluster, allocatable: dict[str, str]
) -> None:
    cloud = FakeCloud()
    cloud.capacity = {}
    async with cluster.provisioner(cloud):
        await create_joined(
            cluster,
            {"allocatable": allocatable},
            resources={"requests": {"cpu": "1", "example.com/nic": "1"}},
        )
        await told(
            cluster,
            "ResourceNotRegistered",
            'Resource "example.com/nic" was requested but not registered',
        )
        await set_status(cluster, {"allocatable": {"example.com/nic": "1"}})
        await cluster.ready("ws1")


async def test_case_23_so_are_all_gpus_of_the_instance_type(cluster: Cluster) -> None:
    """KAITO's claims name none; the device plugin comes up long after the kubelet."""
    cloud = FakeCloud()
    cloud.capacity = {"cpu": "96", "nvidia.com/gpu": "8"}
    async with cluster.provisioner(cloud):
        await create_joined(
            cluster, {"allocatable": {"cpu": "95"}}, resources={"requests": {"storage": "1Ti"}}
        )
        for count in (0, 7):
            await set_status(cluster, {"allocatable": {"nvidia.com/gpu": str(count)}})
            message = (
                'Resource "nvidia.com/gpu" was requested but not registered: Node is Ready, but'
                f" advertises {count} of 8 nvidia.com/gpu of instance type fake-gpu-1: driver or"
                " device plugin is missing or fails"
            )
            await eventually(lambda: told(cluster, "ResourceNotRegistered", message))  # noqa: B023
        await set_status(cluster, {"allocatable": {"nvidia.com/gpu": "8"}})
        await cluster.ready("ws1")


async def test_case_24_an_amount_of_zero_asks_for_nothing(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        await create_joined(cluster, resources={"requests": {"example.com/nic": "0"}})
        await cluster.ready("ws1")


async def test_case_25_startup_taints_are_waited_for(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        warm = {"key": "warm", "value": "up", "effect": "NoExecute"}
        await create_joined(cluster, startupTaints=[warm])
        await told(cluster, "StartupTaintsExist", 'StartupTaint "warm=up:NoExecute" still exists')
        await clear_taints(cluster)
        await cluster.ready("ws1")


@pytest.mark.parametrize(
    "taint",
    [
        "node.kubernetes.io/not-ready=:NoSchedule",
        "node.kubernetes.io/not-ready=:NoExecute",
        "node.kubernetes.io/unreachable=:NoSchedule",
        "node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule",
        "readiness.k8s.io/x=y:NoSchedule",
    ],
)
async def test_case_26_taints_that_go_by_themselves_are_waited_for(
    cluster: Cluster, taint: str
) -> None:
    key, _, rest = taint.partition("=")
    value, _, effect = rest.partition(":")
    async with cluster.provisioner(FakeCloud()):
        await create_joined(cluster, {"taints": [{"key": key, "value": value, "effect": effect}]})
        await told(
            cluster, "KnownEphemeralTaintsExist", f'KnownEphemeralTaint "{taint}" still exists'
        )
        await clear_taints(cluster)
        await cluster.ready("ws1")


async def test_case_27_node_and_claim_say_that_they_can_take_work(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        await create_joined(cluster)
        claim = await cluster.ready("ws1")

    assert [claim.is_true(kind) for kind in ("Initialized", "Ready")] == [True, True]
    node = await cluster.node("ws1")
    assert node is not None
    assert node.metadata.labels["karpenter.sh/initialized"] == "true"


async def test_case_28_what_is_said_is_said_of_the_current_generation(cluster: Cluster) -> None:
    cloud = FakeCloud(lingers=True)
    async with cluster.provisioner(cloud):
        await create_joined(cluster)
        await cluster.ready("ws1")

        older = [
            {"type": each.type, "status": each.status, "reason": each.reason, "message": ""}
            | {"lastTransitionTime": "2026-01-01T00:00:00Z"}
            for each in (await cluster.ready("ws1")).status.conditions
        ]
        await cluster.client.patch(
            NODE_CLAIMS, "ws1", {"status": {"conditions": older}}, subresource="status"
        )
        await set_status(cluster, {"allocatable": {"example.com/wakes": "1"}})

        async def follows() -> int:
            claim = await cluster.claim("ws1")
            assert claim is not None
            generation = claim.metadata.generation
            assert {each.observed_generation for each in claim.status.conditions} == {generation}
            return generation

        assert await eventually(follows) == 1
        assert (await cluster.ready("ws1")).is_true("Ready")

        await cluster.client.delete(NODE_CLAIMS, "ws1")
        await cluster.says("ws1", "InstanceTerminating", "InstanceTerminating")
        assert await eventually(follows) == 2
        cloud.finish_terminating()
        await cluster.gone("ws1")


async def test_case_29_a_claim_as_kaito_writes_it_becomes_ready(cluster: Cluster) -> None:
    async with cluster.provisioner(FakeCloud()):
        await create_joined(
            cluster,
            {"taints": [{"key": "karpenter.sh/unregistered", "effect": "NoExecute"}]},
            labels={"karpenter.sh/nodepool": "kaito", "kaito.sh/workspace": "phi"},
            taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            resources={"requests": {"storage": "1024Gi"}},
            requirements=[
                {"key": "karpenter.sh/nodepool", "operator": "In", "values": ["kaito"]},
                {
                    "key": "node.kubernetes.io/instance-type",
                    "operator": "In",
                    "values": ["Standard_NC24ads_A100_v4"],
                },
                {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
            ],
        )
        await cluster.ready("ws1")
        node = await registered(cluster)

    assert node.metadata.labels["node.kubernetes.io/instance-type"] == "Standard_NC24ads_A100_v4"
    assert node.metadata.labels["kaito.sh/workspace"] == "phi"
