"""Cases 64 to 68 on the real API server: static pools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from apis.karpenter.v1.nodepool import NODE_POOLS
from cloudproviders.errors import InsufficientCapacityError
from kube.objects import NODES
from tests.fakes.pools import AKS, AKS_REF
from tests.integration.gpu_provisioner.pool_cluster import SCALES, BootingPooledCloud, PoolCluster
from tests.integration.gpu_provisioner.world import QUICK, Cluster, eventually


@pytest.fixture
async def pools(cluster: Cluster) -> AsyncIterator[PoolCluster]:
    found = PoolCluster(cluster)
    await found.install_classes()
    yield found
    await found.uninstall(AKS)


async def test_case_64_a_pool_follows_its_replicas(pools: PoolCluster) -> None:
    cloud = BootingPooledCloud(pools.client)
    await pools.create_pool(replicas=2)
    async with pools.cluster.provisioner(cloud):
        await pools.has(2)
        await pools.edit({"replicas": 4})
        await pools.has(4)
        await pools.edit({"replicas": 1})
        await pools.has(1)
        await pools.edit({"replicas": 0})
        await pools.has(0)
        await pools.cluster.balanced(cloud)


async def test_case_64_edits_and_restarts_in_haste_make_none_too_many(pools: PoolCluster) -> None:
    cloud = BootingPooledCloud(pools.client)
    await pools.create_pool(replicas=1)
    for replicas in (5, 2, 6, 3):
        async with pools.cluster.provisioner(cloud) as running:
            await pools.edit({"replicas": replicas})
            for _ in range(15):
                assert len(await pools.claims()) <= 6
                await asyncio.sleep(0.01)
            running.cancel()
    async with pools.cluster.provisioner(cloud):
        await pools.has(3)
        await pools.cluster.balanced(cloud)


async def test_case_64_two_provisioners_at_once_make_none_too_many(pools: PoolCluster) -> None:
    cloud = BootingPooledCloud(pools.client)
    one, other = pools.cluster.provisioner(cloud), pools.cluster.provisioner(cloud)
    async with one, other:
        await pools.create_pool(replicas=4)
        await pools.has(4)
        assert len(cloud.made) == 4


async def test_case_64_limits_nodes_is_respected(pools: PoolCluster) -> None:
    await pools.create_pool(replicas=3, limits={"nodes": "2"})
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client)):
        await pools.has(2)
        said = await pools.says("ReplicasProvisioned", "LimitReached")
        assert said.status == "False"


async def test_case_64_a_pool_whose_class_is_not_ready_does_nothing(pools: PoolCluster) -> None:
    cloud = BootingPooledCloud(pools.client)
    await pools.create_pool(replicas=2, node_class_ref=AKS_REF)
    async with pools.cluster.provisioner(cloud):
        await pools.says("Ready", "UnhealthyDependents")
        await pools.says("ReplicasProvisioned", "NodePoolNotReady")
        assert cloud.made == []
        await pools.create_class()
        await pools.has(2)


async def test_case_64_a_pool_without_replicas_is_told_that_it_waits_in_vain(
    pools: PoolCluster,
) -> None:
    await pools.create_pool(replicas=None)
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client)):
        await pools.says("ReplicasProvisioned", "NotStatic")

        async def is_told() -> None:
            assert "NotStatic" in pools.cluster.events.reasons()

        await eventually(is_told)  # the event follows the condition
        assert await pools.claims() == []


async def test_case_64_claims_that_cannot_be_had_are_not_asked_for_in_a_loop(
    pools: PoolCluster,
) -> None:
    cloud = BootingPooledCloud(pools.client)
    refused = "all requested instance types were unavailable during launch: no H100 in zone 1"
    cloud.refuses_next(*[InsufficientCapacityError(refused)] * 3)
    await pools.create_pool(replicas=1)
    patient = replace(QUICK, static_pool_backoff=(0.5, 5.0))
    started = asyncio.get_running_loop().time()
    async with pools.cluster.provisioner(cloud, timings=patient):
        said = await pools.says("ReplicasProvisioned", "BackingOff")
        assert "no H100 in zone 1" in said.message
        assert "next try at" in said.message
        await pools.has(1)
    assert asyncio.get_running_loop().time() - started >= 0.5 + 1.0 + 2.0
    assert cloud.count("create") <= 4 + 1
    assert "BackingOff" in pools.cluster.events.reasons()


async def test_case_65_the_one_that_is_missed_least_goes_first(pools: PoolCluster) -> None:
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client)):
        await pools.create_pool(replicas=3)
        names = sorted(claim.metadata.name for claim in await pools.has(3))
        asked, busy, empty = names
        wish = {"karpenter.sh/do-not-disrupt": "true"}
        await pools.cluster.create_pod("asked", asked, metadata={"annotations": wish})
        await pools.cluster.create_pod("busy", busy)
        await asyncio.sleep(0.3)  # until the pods are seen
        for replicas, gone in ((2, empty), (1, busy)):
            await pools.edit({"replicas": replicas})
            await pools.cluster.deleted(gone)
            if gone == busy:
                break
        assert [claim.metadata.name for claim in await pools.has(1)] == [asked]


async def test_case_66_drifted_nodes_are_replaced_one_by_one(pools: PoolCluster) -> None:
    cloud = BootingPooledCloud(pools.client)
    async with pools.cluster.provisioner(cloud):
        await pools.create_pool(replicas=3)
        old = {claim.metadata.uid for claim in await pools.has(3)}
        await pools.edit({"template": {"metadata": {"labels": {"generation": "2"}}}})
        working, most = 3, 0

        async def are_replaced() -> None:
            nonlocal working, most
            found = await pools.claims()
            working = min(working, sum(each.is_true("Initialized") for each in found))
            most = max(most, len(found))
            assert len(found) == 3
            assert not old & {each.metadata.uid for each in found}
            assert all(each.is_true("Ready") for each in found)

        await eventually(are_replaced, seconds=30)
        assert working >= 3, "never fewer nodes than asked for"
        assert most <= 4, "one at a time"
        assert all(each.metadata.labels["generation"] == "2" for each in await pools.claims())
        await pools.cluster.balanced(cloud)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"disruption": {"budgets": [{"nodes": "0"}]}}, id="case_66 budget 0"),
        pytest.param({"limits": {"nodes": "1"}}, id="case_66 no room"),
    ],
)
async def test_case_66_drift_is_blocked_by_budget_and_limit(
    pools: PoolCluster, spec: dict[str, Any]
) -> None:
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client)):
        await pools.create_pool(replicas=1, **spec)
        [claim] = await pools.has(1)
        await pools.edit({"template": {"spec": {"expireAfter": "100h"}}})
        await pools.cluster.says(claim.metadata.name, "Drifted", "NodePoolDrifted")

        async def is_told() -> None:
            assert "DisruptionBlocked" in pools.cluster.events.reasons()

        await eventually(is_told)
        assert [each.metadata.uid for each in await pools.claims()] == [claim.metadata.uid]


async def test_case_67_the_claims_go_with_their_pool(pools: PoolCluster) -> None:
    """By their owner: the garbage collector deletes them, and the provisioner does not, or
    `--cascade=orphan` would mean nothing."""
    cloud = BootingPooledCloud(pools.client)
    async with pools.cluster.provisioner(cloud):
        pool = await pools.create_pool(replicas=2)
        claims = await pools.has(2)
        for claim in claims:
            [owner] = claim.metadata.owner_references
            assert (owner.api_version, owner.kind) == ("karpenter.sh/v1", "NodePool")
            assert (owner.name, owner.uid) == ("pool", pool.metadata.uid)
            assert owner.block_owner_deletion
        await pools.client.delete(NODE_POOLS, "pool")
        await asyncio.sleep(0.3)
        assert len(await pools.claims()) == 2
        await pools.collect()
        for claim in claims:
            await pools.cluster.gone(claim.metadata.name)
        assert cloud.instances == {}


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        pytest.param([], "NodeClassNotFound", id="case_68 not found"),
        pytest.param([None], "NodeClassReadinessUnknown", id="case_68 unknown"),
        pytest.param(["False"], "SubnetsNotFound", id="case_68 not ready"),
        pytest.param(["True"], "NodeClassReady", id="case_68 ready"),
        pytest.param(["True", "deleted"], "NodeClassTerminating", id="case_68 terminating"),
    ],
)
async def test_case_68_the_state_of_the_class_is_relayed(
    pools: PoolCluster, steps: list[str | None], reason: str
) -> None:
    """With a class that nobody looks after but the test."""

    class Others(BootingPooledCloud):
        async def resolve(self, node_class: Any, /) -> Any:
            raise InsufficientCapacityError("not now")

    await pools.create_pool(replicas=0, node_class_ref=AKS_REF)
    if steps:
        await pools.create_class()
        await pools.client.patch(AKS, "gpu", {"metadata": {"finalizers": ["example.com/held"]}})
        await _judge(pools, steps[0])
    if steps[1:]:
        await pools.client.delete(AKS, "gpu")
    async with pools.cluster.provisioner(Others(pools.client)):
        said = await pools.says("NodeClassReady", reason)
        assert said.status == ("True" if reason == "NodeClassReady" else "False")
        ready = (await pools.pool()).condition("Ready")
        assert ready.status == said.status


async def _judge(pools: PoolCluster, ready: str | None) -> None:
    if ready is None:
        return
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": "SubnetsNotFound" if ready == "False" else "Ready",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    await pools.client.patch(
        AKS, "gpu", {"status": {"conditions": [condition]}}, subresource="status"
    )


async def test_the_scale_subresource_drives_the_pool(pools: PoolCluster) -> None:
    """`kubectl scale nodepool`."""
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client)):
        await pools.create_pool(replicas=1)
        await pools.has(1)
        await pools.client.patch(SCALES, "pool", {"spec": {"replicas": 2}}, subresource="scale")
        await pools.has(2)
        assert len(await pools.nodes()) == len((await pools.client.list(NODES)).items) == 2


async def test_a_pool_that_stays_as_it_is_is_not_written(pools: PoolCluster) -> None:
    """Neither are its claims, also by a provisioner that has just begun."""
    cloud = BootingPooledCloud(pools.client)

    async def versions() -> list[str]:
        found = [await pools.pool(), *await pools.claims()]
        return [each.metadata.resource_version for each in found]

    async with pools.cluster.provisioner(cloud):
        await pools.create_pool(replicas=3)
        await pools.has(3)
        await asyncio.sleep(0.5)
        before = await versions()
        await asyncio.sleep(0.5)
        assert await versions() == before
    async with pools.cluster.provisioner(cloud):
        await asyncio.sleep(1)
        assert await versions() == before


async def test_a_pool_as_kaito_writes_it(pools: PoolCluster) -> None:
    """Its NodePool mode: labels by which its pods find their nodes, a class of the cloud's own."""
    mine = {
        "karpenter.kaito.sh/workspace-name": "falcon",
        "karpenter.kaito.sh/workspace-namespace": "default",
        "apps": "llm",
    }
    scope = {
        "key": "karpenter.azure.com/placement-scope",
        "operator": "In",
        "values": ["regional"],
    }
    taint = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client)):
        await pools.create_class()
        await pools.create_pool(
            "default-falcon",
            replicas=2,
            labels=mine,
            node_class_ref=AKS_REF,
            requirements=[
                {
                    "key": "node.kubernetes.io/instance-type",
                    "operator": "In",
                    "values": ["fake-gpu-1"],
                },
                scope,
            ],
            template={"taints": [taint]},
            disruption={
                "consolidateAfter": "0s",
                "budgets": [{"nodes": "1", "reasons": ["Drifted"]}],
            },
        )
        for claim in await pools.has(2, "default-falcon"):
            assert not claim.is_true("Drifted")
            node = await pools.cluster.node(claim.status.node_name)
            assert node is not None
            own = {**mine, "karpenter.sh/nodepool": "default-falcon"}
            assert own.items() <= node.metadata.labels.items()
            assert taint["key"] in {each.key for each in node.spec.taints}
