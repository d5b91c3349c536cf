"""Case 61 on the real API server: what makes a claim drift, and what ends that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube.meta import Manifest
from tests.fakes.objects import KAITO_NODE_CLASS
from tests.fakes.pools import AKS, AKS_REF
from tests.integration.gpu_provisioner.pool_cluster import BootingPooledCloud, PoolCluster
from tests.integration.gpu_provisioner.world import QUICK, Cluster, eventually

HASH = "karpenter.sh/nodepool-hash"
VERSION = "karpenter.sh/nodepool-hash-version"
WATCHFUL = replace(QUICK, drift=0.05)
STILL: dict[str, Any] = {"disruption": {"consolidateAfter": "0s", "budgets": [{"nodes": "0"}]}}
"""A budget under which drift is told and nothing is replaced."""


@pytest.fixture
async def pools(cluster: Cluster) -> AsyncIterator[PoolCluster]:
    found = PoolCluster(cluster)
    await found.install_classes()
    yield found
    await found.uninstall(AKS)


async def _one(pools: PoolCluster, **given: Any) -> str:
    await pools.create_pool(replicas=1, **{**STILL, **given})
    [claim] = await pools.has(1)
    return claim.metadata.name


async def _has_drifted(pools: PoolCluster, name: str, reason: str) -> None:
    await pools.cluster.says(name, "Drifted", reason)


async def _has_not(pools: PoolCluster, name: str) -> NodeClaim:
    async def is_not() -> NodeClaim:
        claim = await pools.cluster.claim(name)
        assert claim is not None
        assert "Drifted" not in {each.type for each in claim.status.conditions}
        return claim

    return await eventually(is_not)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"metadata": {"annotations": {"a": "b"}}}, id="case_61 annotations"),
        pytest.param({"metadata": {"labels": {"a": "b"}}}, id="case_61 labels"),
        pytest.param(
            {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}, id="case_61 taints"
        ),
        pytest.param(
            {"spec": {"startupTaints": [{"key": "a", "effect": "NoSchedule"}]}},
            id="case_61 startupTaints",
        ),
        pytest.param(
            {"spec": {"nodeClassRef": {**KAITO_NODE_CLASS, "name": "other"}}},
            id="case_61 nodeClassRef name",
        ),
        pytest.param({"spec": {"expireAfter": "100h"}}, id="case_61 expireAfter"),
        pytest.param(
            {"spec": {"terminationGracePeriod": "1h"}}, id="case_61 terminationGracePeriod"
        ),
    ],
)
async def test_each_field_of_the_template_flips_it_and_undone_clears_it(
    pools: PoolCluster, edit: Manifest
) -> None:
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client), timings=WATCHFUL):
        name = await _one(pools)
        before = (await pools.pool()).spec.template.to_json()
        undo = {
            part: {field: before[part].get(field) for field in fields}
            for part, fields in edit.items()
        }
        for field in ("labels", "annotations"):
            if field in edit.get("metadata", {}):
                undo["metadata"][field] = {"a": None}
        await pools.edit({"template": edit})
        await _has_drifted(pools, name, "NodePoolDrifted")
        await pools.edit({"template": undo})
        await _has_not(pools, name)


async def test_case_61_requirements_of_the_pool(pools: PoolCluster) -> None:
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client), timings=WATCHFUL):
        name = await _one(pools)
        key = "node.kubernetes.io/instance-type"
        for values, reason in ((["fake-gpu-2"], "RequirementsDrifted"), (["fake-gpu-1"], "")):
            asked = [{"key": key, "operator": "In", "values": values}]
            await pools.edit({"template": {"spec": {"requirements": asked}}})
            await (_has_drifted(pools, name, reason) if reason else _has_not(pools, name))


async def test_case_61_another_provisioners_stamps_are_replaced_and_nothing_else(
    pools: PoolCluster,
) -> None:
    """The swap from Karpenter: not one machine is replaced for its hash."""
    cloud = BootingPooledCloud(pools.client)
    async with pools.cluster.provisioner(cloud, timings=WATCHFUL):
        await pools.create_pool(replicas=2)
        before = {each.metadata.uid for each in await pools.has(2)}
    foreign = {"metadata": {"annotations": {HASH: "4711", VERSION: "v3"}}}
    await pools.client.patch(NODE_POOLS, "pool", foreign)
    for claim in await pools.claims():
        await pools.client.patch(NODE_CLAIMS, claim.metadata.name, foreign)
    async with pools.cluster.provisioner(cloud, timings=WATCHFUL):

        async def are_stamped() -> None:
            pool = (await pools.pool()).metadata.annotations
            assert pool[VERSION] == "kaito-v1"
            for claim in await pools.claims():
                assert pool.items() <= claim.metadata.annotations.items()

        await eventually(are_stamped)
        after = {each.metadata.uid for each in await pools.has(2)}
        assert after == before


@pytest.mark.parametrize("missing", [HASH, VERSION])
async def test_case_61_a_missing_stamp_does_not_flip_it(pools: PoolCluster, missing: str) -> None:
    """The claim goes on with its requirements and its cloud only."""
    cloud = BootingPooledCloud(pools.client)
    async with pools.cluster.provisioner(cloud, timings=WATCHFUL):
        name = await _one(pools)
        await pools.client.patch(NODE_CLAIMS, name, {"metadata": {"annotations": {missing: None}}})
        await pools.edit({"template": {"metadata": {"labels": {"a": "b"}}}})

        async def asked_again() -> None:
            assert len(cloud.asked) >= asked + 3

        asked = len(cloud.asked)
        await eventually(asked_again)
        await _has_not(pools, name)


async def test_case_61_the_clouds_reason_and_its_end(pools: PoolCluster) -> None:
    cloud = BootingPooledCloud(pools.client)
    async with pools.cluster.provisioner(cloud, timings=WATCHFUL):
        await pools.cluster.create_claim("ws1")
        await pools.cluster.ready("ws1")
        cloud.drifted["ws1"] = "ImageDrift"
        await _has_drifted(pools, "ws1", "ImageDrift")
        cloud.drifted.clear()
        claim = await _has_not(pools, "ws1")
        assert not claim.deleting, "nobody would make another in its place"


async def test_case_61_a_class_that_has_changed(pools: PoolCluster) -> None:
    async with pools.cluster.provisioner(BootingPooledCloud(pools.client), timings=WATCHFUL):
        await pools.create_class(imageFamily="Ubuntu")
        name = await _one(pools, node_class_ref=AKS_REF)
        await _has_not(pools, name)
        await pools.client.patch(AKS, "gpu", {"spec": {"tags": {"a": "b"}}})
        await _has_not(pools, name)
        await pools.client.patch(AKS, "gpu", {"spec": {"imageFamily": "AzureLinux"}})
        await _has_drifted(pools, name, "NodeClassDrift")
