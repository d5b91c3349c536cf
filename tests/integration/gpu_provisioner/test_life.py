"""The life of claims and nodes against the real API server."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from dataclasses import replace
from typing import Any

import cloudproviders
from cloudproviders.errors import CreateError, InsufficientCapacityError
from cloudproviders.kwok.provider import KwokProvider
from kube.client import Client
from kube.meta import Resource
from kube.objects import NODES
from localcluster.binaries import Binaries
from tests.fakes.cloud import FakeCloud
from tests.integration.gpu_provisioner.world import QUICK, BootingCloud, Cluster, eventually

KWOK = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
FOREIGN = {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"}


def kwok(cluster: Cluster, boot_seconds: float = 0.0) -> KwokProvider:
    types = cloudproviders.instance_types("kwok")
    return KwokProvider(cluster.client, types, boot_seconds=boot_seconds)


async def test_case_27_a_claim_becomes_ready_and_fills_its_columns(
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
        "on-demand",
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


class Counted(Client):
    """Counts what it writes, by kind."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.writes: Counter[str] = Counter()

    async def patch(self, resource: Resource[Any], *given: Any, **named: Any) -> Any:
        self.writes[resource.kind] += 1
        return await super().patch(resource, *given, **named)


async def test_a_claims_way_to_ready_takes_few_writes(cluster: Cluster) -> None:
    """Claim: finalizer, labels, once for each condition. Node: registered, initialized."""
    cloud = FakeCloud()
    client = cluster.new_client(Counted)
    async with cluster.provisioner(cloud, client=client):
        await cluster.create_claim("ws1")
        await cluster.join(await cluster.launched("ws1"), "ws1")
        await cluster.ready("ws1")
        await asyncio.sleep(0.5)

    assert cloud.count("create") == 1
    assert client.writes["NodeClaim"] <= 7
    assert client.writes["Node"] == 2


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


async def test_case_04_no_capacity_gives_the_claim_up(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    cloud.refuses_next(InsufficientCapacityError("no A100 left"))
    async with cluster.provisioner(cloud):
        await cluster.create_claim("ws1")
        await cluster.gone("ws1")

    assert cloud.made == []
    (told,) = cluster.events.told
    assert (told.reason, told.message) == ("InsufficientCapacityError", "no A100 left")


async def test_case_06_a_refusal_stands_on_the_claim_until_the_cloud_yields(
    cluster: Cluster,
) -> None:
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


async def test_case_02_claims_of_others_are_never_touched(cluster: Cluster) -> None:
    cloud = BootingCloud(cluster.client)
    theirs = await cluster.create_claim("theirs", node_class_ref=FOREIGN)
    async with cluster.provisioner(cloud, timings=replace(QUICK, garbage_collection=0.1)):
        await cluster.create_claim("ours")
        await cluster.ready("ours")

    assert await cluster.claim("theirs") == theirs
    assert len(cloud.made) == 1
