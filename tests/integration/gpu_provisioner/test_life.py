"""The life of claims and nodes against the real API server."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from typing import Any

import cloudproviders
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import CreateError, InsufficientCapacityError
from cloudproviders.kwok.provider import KwokProvider
from kube.meta import Manifest
from kube.objects import NODES, PODS
from localcluster.binaries import Binaries
from tests.integration.gpu_provisioner.world import QUICK, BootingCloud, Cluster, eventually

KWOK = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
FOREIGN = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"}


def kwok(cluster: Cluster, boot_seconds: float = 0.0) -> KwokProvider:
    types = cloudproviders.instance_types("kwok")
    return KwokProvider(cluster.client, types, boot_seconds=boot_seconds)


async def test_a_claim_becomes_ready_and_fills_its_columns(
    cluster: Cluster, binaries: Binaries
) -> None:
    cloud = kwok(cluster, boot_seconds=1.0)
    await cluster.create_claim(
        "ws1",
        node_class_ref=KWOK,
        instance_type="kwok-a10-1",
        labels={"kaito.sh/workspace": "phi"},
        taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        resources={"requests": {"nvidia.com/gpu": "1"}},
    )
    async with cluster.provisioner(cloud):
        claim = await cluster.ready("ws1")

    assert claim.status.allocatable["nvidia.com/gpu"] == "1"
    node = await cluster.node("ws1")
    assert node is not None
    assert node.metadata.labels["kaito.sh/workspace"] == "phi"
    assert node.metadata.labels["karpenter.sh/initialized"] == "true"
    assert [str(taint) for taint in node.spec.taints] == ["sku=gpu:NoSchedule"]
    assert (await columns(cluster, binaries))[:6] == [
        "ws1",
        "kwok-a10-1",
        "spot",
        "kwok-zone-a",
        "ws1",
        "True",
    ]
    await cloud.close()


async def columns(cluster: Cluster, binaries: Binaries) -> list[str]:
    """What `kubectl get nodeclaims` says of the only one."""
    (kubectl,) = binaries.paths(["kubectl"]).values()
    argv = [str(kubectl), "--kubeconfig", str(cluster.kubeconfig), "get", "nodeclaims"]
    answer = await asyncio.to_thread(
        subprocess.run, [*argv, "--no-headers"], capture_output=True, text=True, check=True
    )
    return answer.stdout.split()


async def test_a_claim_that_is_at_rest_is_not_written(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    await cluster.create_claim("ws1")
    async with cluster.provisioner(cloud, timings=replace(QUICK, garbage_collection=0.1)):
        await cluster.ready("ws1")
        await asyncio.sleep(0.3)
        before = await versions(cluster)
        await cluster.client.patch(
            NODES, "ws1", {"metadata": {"annotations": {"kubelet": "was here"}}}
        )
        touched = await versions(cluster)
        await asyncio.sleep(0.5)

        assert before[0] == touched[0]
        assert await versions(cluster) == touched


async def versions(cluster: Cluster) -> tuple[str, str]:
    claim, node = await cluster.claim("ws1"), await cluster.node("ws1")
    assert claim is not None
    assert node is not None
    return claim.metadata.resource_version, node.metadata.resource_version


async def test_many_claims_at_once_get_one_machine_each(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    names = [f"ws{number}" for number in range(20)]
    async with cluster.provisioner(cloud):
        for name in names:
            await cluster.create_claim(name)
        for name in names:
            await cluster.ready(name)

        assert len(cloud.made) == len(set(cloud.made)) == 20


async def test_no_capacity_gives_the_claim_up(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    cloud.refuses_next(InsufficientCapacityError("no A100 left"))
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.gone("ws1")

    assert cloud.made == []
    (told,) = cluster.events.told
    assert (told.reason, told.message) == ("InsufficientCapacityError", "no A100 left")


async def test_a_refusal_stands_on_the_claim_until_the_cloud_yields(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    cloud.refuses_next(CreateError("QuotaExceeded", "32 cores of 30"))
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")

        async def told() -> None:
            claim = await cluster.claim("ws1")
            assert claim is not None
            assert claim.condition("Launched").reason == "QuotaExceeded"

        await eventually(told)
        await cluster.ready("ws1")


async def test_claims_of_others_are_never_touched(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    theirs = await cluster.create_claim("theirs", node_class_ref=FOREIGN)
    async with cluster.provisioner(cloud, timings=replace(QUICK, garbage_collection=0.1)):
        await cluster.create_claim("ours")
        await cluster.ready("ours")

    assert await cluster.claim("theirs") == theirs
    assert len(cloud.made) == 1


async def test_a_deleted_claim_takes_node_instance_and_itself_in_that_order(
    cluster: Cluster,
) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await cluster.create_pod("p", "ws1")
        await cluster.client.delete(NODE_CLAIMS, "ws1")
        await cluster.gone("ws1")

    assert cloud.instances == {}
    assert cloud.deletes[0] is True  # the Node was there until its machine was gone
    assert await cluster.client.get(PODS, "p", "default") is None


async def test_a_node_that_is_deleted_takes_its_claim_along(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await cluster.client.delete(NODES, "ws1")
        await cluster.gone("ws1")

    assert cloud.instances == {}


async def test_a_disruption_budget_holds_the_machine(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        await cluster.create_budget("serving", {"app": "vllm"})
        await cluster.create_pod("p", "ws1", metadata={"labels": {"app": "vllm"}})
        await cluster.client.delete(NODE_CLAIMS, "ws1")

        async def complained() -> None:
            assert "FailedDraining" in cluster.events.reasons()

        await eventually(complained)
        await asyncio.sleep(0.3)
        assert len(cloud.instances) == 1
        claim = await cluster.claim("ws1")
        assert claim is not None
        assert claim.condition("Drained").reason == "Draining"

        await cluster.allow("serving", 1)
        await cluster.gone("ws1")

    assert cloud.instances == {}


async def test_a_deadline_beats_the_budget(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", terminationGracePeriod="2s")
        await cluster.ready("ws1")
        await cluster.create_budget("serving", {"app": "vllm"})
        await cluster.create_pod("p", "ws1", metadata={"labels": {"app": "vllm"}})
        await cluster.client.delete(NODE_CLAIMS, "ws1")

        async def forced() -> None:
            pod = await cluster.client.get(PODS, "p", "default")
            assert pod is None or pod.metadata.deletion_timestamp is not None

        await eventually(forced)
        # The kubelet's part: the pod has ended.
        await cluster.client.delete(PODS, "p", namespace="default", grace_period_seconds=0)
        await cluster.gone("ws1")

    assert cloud.instances == {}


async def test_pods_leave_in_their_order(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
        slow: dict[str, Any] = {"terminationGracePeriodSeconds": 60}
        await cluster.create_pod("app", "ws1", spec=slow)
        await cluster.create_pod("daemon", "ws1", owner="DaemonSet")
        await cluster.client.delete(NODE_CLAIMS, "ws1")

        async def app_is_ending() -> None:
            app = await cluster.client.get(PODS, "app", "default")
            assert app is not None
            assert app.metadata.deletion_timestamp is not None

        await eventually(app_is_ending)
        await asyncio.sleep(0.3)
        daemon = await cluster.client.get(PODS, "daemon", "default")
        assert daemon is not None
        assert daemon.metadata.deletion_timestamp is None

        await cluster.client.delete(PODS, "app", namespace="default", grace_period_seconds=0)
        await cluster.gone("ws1")
    assert await cluster.client.get(PODS, "daemon", "default") is None


async def test_an_instance_whose_claim_was_forced_away_is_collected(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.ready("ws1")
    await cluster.empty()
    assert len(cloud.instances) == 1

    async with cluster.provisioner(cloud, timings=replace(QUICK, garbage_grace=0.0)):

        async def collected() -> None:
            assert cloud.instances == {}

        await eventually(collected)


async def test_a_claim_stored_under_an_older_schema_can_still_end(cluster: Cluster) -> None:
    """Quantities are spelled anew on each read: nothing may write the spec back."""
    cloud = BootingCloud(cluster.client)
    requests: Manifest = {"requests": {"storage": "1024Gi", "cpu": "1000m"}}
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1", resources=requests)
        claim = await cluster.ready("ws1")
        assert claim.spec.resources.requests["storage"] == "1024Gi"
        await cluster.client.delete(NODE_CLAIMS, "ws1")
        await cluster.gone("ws1")
