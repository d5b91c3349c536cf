"""Three ways to nodes, on a real API server; pools with the provisioner that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from workspace_cluster import Cluster, condition, eventually

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.errors import InsufficientCapacityError
from cloudproviders.nodeclass import NodeClassCondition
from kube.meta import Manifest
from kube.objects import NODES, PODS, Unstructured
from presets.catalog import Catalog
from presets.model import GIB
from tests.builders import LARGE, NODE_CLASSES, settings
from tests.integration.gpu_provisioner.pool_cluster import BootingPooledCloud, PoolCluster
from tests.integration.gpu_provisioner.world import QUICK
from tests.integration.gpu_provisioner.world import Cluster as Provisioners
from workspace_controller.manifests.nodepool import POOLS
from workspace_controller.nodes.attempts import claim_name

pytestmark = pytest.mark.integration

CLASSES = NODE_CLASSES.resource
POOLED = settings(node_classes=NODE_CLASSES)
TWO_NODES = {"preset": "large-70b", "instance_type": "local-gpu-2"}
OWN = {
    "node.kubernetes.io/instance-type": "local-gpu-1",
    "nvidia.com/gpu.product": "NVIDIA-A10",
    "nvidia.com/gpu.count": "1",
    "nvidia.com/gpu.memory": "24576",
}


class Pools:
    """A Workspace's pool, and who makes nodes of it."""

    def __init__(self, cluster: Cluster, provisioners: Provisioners) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.name = f"{cluster.namespace}-falcon"
        self.cloud = BootingPooledCloud(provisioners.client)
        self.provisioners = provisioners
        self._of = PoolCluster(provisioners)

    def provisioner(self, **given: Any):
        return self.provisioners.provisioner(self.cloud, **given)

    async def pool(self) -> Unstructured | None:
        return await self.client.get(POOLS, self.name)

    async def replicas(self, number: int) -> None:
        async def is_so() -> bool:
            pool = await self.pool()
            return pool is not None and pool.spec["replicas"] == number

        await eventually(is_so)

    async def claims(self) -> list[NodeClaim]:
        return await self._of.claims(self.name)

    async def collect(self) -> None:
        """The garbage collector, which is not run here."""
        await self._of.collect()

    async def edit_class(self, patch: Manifest, name: str = "ubuntu") -> None:
        await self.client.patch(CLASSES, name, patch)


@pytest.fixture
async def pools(cluster: Cluster, installed) -> AsyncIterator[Pools]:
    provisioners = Provisioners(installed)
    yield Pools(cluster, provisioners)
    await _remove_all(cluster)
    await provisioners.client.close()


async def _remove_all(cluster: Cluster) -> None:
    """What the provisioner would have cleared away, had it been left running."""
    for kind in (WORKSPACES, POOLS, NODE_CLAIMS, CLASSES, NODES):
        namespace = cluster.namespace if kind is WORKSPACES else ""
        for each in (await cluster.client.list(kind, namespace=namespace)).items:
            name = each.metadata.name
            await cluster.client.delete(kind, name, namespace=namespace)
            if each.metadata.finalizers and await cluster.client.get(kind, name, namespace):
                free = {"metadata": {"finalizers": None}}
                await cluster.client.patch(kind, name, free, namespace=namespace)


async def test_from_workspace_to_pool_to_nodes_to_workload_and_back_to_nothing(pools: Pools):
    cluster = pools.cluster
    async with pools.provisioner(), cluster.controller(POOLED) as process:
        await cluster.create_workspace()
        await eventually(lambda: _resource_ready(cluster))
        (claim,) = await pools.claims()
        node = await cluster.client.get(NODES, claim.status.node_name)
        assert node is not None
        assert node.metadata.labels["karpenter.kaito.sh/workspace-name"] == "falcon"
        assert (await cluster.workspace()).status.worker_nodes == (claim.status.node_name,)
        assert ("Normal", "NodePoolCreated") in process.events.told
        await eventually(cluster.stateful_set)
        await cluster.client.delete(WORKSPACES, "falcon", namespace=cluster.namespace)
        await eventually(lambda: _waits_for_its_claims(pools))
        assert await cluster.client.get(WORKSPACES, "falcon", cluster.namespace) is not None
        await eventually(lambda: _collected(pools))
        await eventually(lambda: _workspace_gone(cluster))
    assert len(pools.cloud.made) == 1
    assert pools.cloud.instances == {}


async def test_a_new_workspace_costs_three_writes_and_a_quiet_one_none(pools: Pools):
    cluster = pools.cluster
    async with pools.provisioner():
        async with cluster.controller(POOLED) as process:
            await eventually(lambda: _class_ready(pools))
            before = len(process.writes)
            await cluster.create_workspace()
            await pools.replicas(1)
            first = process.writes[before:][:3]
            assert (
                first
                == [
                    "patch Workspace metadata",
                    f"apply NodePool {pools.name}",
                    "patch Workspace status",
                ][: len(first)]
            )
            await eventually(cluster.stateful_set)
            await cluster.serve()
            await eventually(cluster.succeeded)
            await process.quiet()
        async with cluster.controller(POOLED) as process:
            await asyncio.sleep(0.7)
            assert process.writes == []


async def test_a_pool_deleted_by_hand_comes_back(pools: Pools):
    cluster = pools.cluster
    async with pools.provisioner(), cluster.controller(POOLED):
        await cluster.create_workspace()
        await eventually(cluster.stateful_set)
        first = await pools.pool()
        assert first is not None
        await pools.client.delete(POOLS, pools.name)
        await eventually(lambda: _replaced(pools, first))
        await pools.collect()
        await eventually(lambda: _claims_are_ready(pools, 1))
        await eventually(lambda: _resource_ready(cluster))
    assert len(pools.cloud.made) == 2
    assert len(pools.cloud.instances) <= 2


async def test_a_pool_scaled_by_hand_is_scaled_back(pools: Pools):
    cluster = pools.cluster
    async with cluster.controller(POOLED):
        await _classes_ready(pools)
        await cluster.create_workspace()
        await pools.replicas(1)
        await pools.client.patch(POOLS, pools.name, {"spec": {"replicas": 7}})
        await pools.replicas(1)
        await pools.client.patch(POOLS, pools.name, {"spec": {"limits": {"nodes": "9"}}})
        await asyncio.sleep(0.3)
        pool = await pools.pool()
        assert pool is not None
        assert pool.spec["limits"] == {"nodes": "9"}


async def test_a_claim_of_the_pool_deleted_by_hand_and_a_lost_node_heal(pools: Pools):
    cluster = pools.cluster
    async with pools.provisioner(), cluster.controller(POOLED):
        await cluster.create_workspace()
        await eventually(cluster.stateful_set)
        (first,) = await pools.claims()
        await pools.client.delete(NODE_CLAIMS, first.metadata.name)
        await eventually(lambda: _others_are_ready(pools, first))
        await eventually(lambda: _resource_ready(cluster))
        assert len(pools.cloud.instances) == 1
    assert len(pools.cloud.made) == 2


async def test_no_capacity_is_told_in_the_clouds_words(pools: Pools):
    cluster = pools.cluster
    refused = InsufficientCapacityError("no A10 in zone a")
    pools.cloud.refuses_next(*[refused] * 20)
    patient = replace(QUICK, static_pool_backoff=(30.0, 60.0))
    async with pools.provisioner(timings=patient), cluster.controller(POOLED):
        await cluster.create_workspace()
        await eventually(lambda: _says(cluster, "no A10 in zone a"))
        await eventually(lambda: _says(cluster, "next try at"))
        assert await condition(cluster, "ResourceReady") == ("False", "BackingOff")
    assert pools.cloud.count("create") <= 2


async def test_a_class_that_is_not_ready_is_a_reason_and_not_an_end(pools: Pools):
    cluster = pools.cluster
    pools.cloud.verdict = (
        NodeClassCondition("SubnetsReady", "False", "SubnetNotFound", "no subnet vnet-1/gpu"),
    )
    async with pools.provisioner(), cluster.controller(POOLED):
        await cluster.create_workspace()
        await eventually(lambda: _says(cluster, "SubnetNotFound: no subnet vnet-1/gpu"))
        assert await _reason(cluster, "NodeClassNotReady")
        assert await pools.pool() is None
        pools.cloud.verdict = (NodeClassCondition("SubnetsReady", "True"),)
        await pools.edit_class({"spec": {"tags": {"touched": "yes"}}})
        await eventually(cluster.stateful_set)


async def test_classes_are_made_once_and_never_overwritten(pools: Pools):
    async with pools.cluster.controller(POOLED):
        await eventually(lambda: _class(pools, "large"))
        await pools.edit_class({"spec": {"osDiskSizeGB": 512}})
    async with pools.cluster.controller(POOLED):
        await asyncio.sleep(0.5)
        ubuntu = await pools.client.get(CLASSES, "ubuntu")
        assert ubuntu is not None
        assert ubuntu.spec["osDiskSizeGB"] == 512
        await pools.client.delete(CLASSES, "large")
        await eventually(lambda: _class(pools, "large"))


async def test_claims_from_before_the_pool_count_and_go_with_the_workspace(pools: Pools):
    cluster = pools.cluster
    async with cluster.controller():
        await cluster.create_workspace()
        await cluster.bring_up(await cluster.one_claim())
        await eventually(cluster.stateful_set)
    async with cluster.controller(POOLED):
        await eventually(lambda: _resource_ready(cluster))
        await asyncio.sleep(0.3)
        assert await pools.pool() is None
        await cluster.client.delete(WORKSPACES, "falcon", namespace=cluster.namespace)
        await eventually(lambda: _workspace_gone(cluster))
    assert await cluster.claims() == []


async def test_who_dies_between_any_two_writes_has_made_no_second_pool(pools: Pools):
    cluster = pools.cluster
    async with cluster.controller(POOLED):
        await _classes_ready(pools)
    for writes in range(4):
        async with cluster.controller(POOLED, dies_after=writes) as process:
            if writes == 0:
                await cluster.create_workspace(**TWO_NODES)
            await eventually(lambda n=writes, p=process: p.dead_or_done(n))
    async with cluster.controller(POOLED):
        target = await _target(cluster)
        await pools.replicas(target)
    assert [each.metadata.name for each in (await pools.client.list(POOLS)).items] == [pools.name]


async def test_a_lost_node_is_replaced_by_the_next_attempt(cluster: Cluster):
    """The provisioner gives the claim up, as it does when the instance is gone."""
    async with cluster.controller():
        await cluster.create_workspace()
        first = await cluster.one_claim()
        node = await cluster.bring_up(first)
        await eventually(lambda: _resource_ready(cluster))
        uid = (await cluster.workspace()).metadata.uid
        await cluster.client.delete(NODES, node)
        await cluster.client.delete(NODE_CLAIMS, first.metadata.name)
        await eventually(lambda: _only_claim(cluster, claim_name(uid, 0, 2)))
        await cluster.bring_up(await cluster.one_claim())
        await eventually(lambda: _resource_ready(cluster))


async def test_a_workspace_that_needs_fewer_nodes_gives_the_rest_back(cluster: Cluster):
    """A release corrects the size of a model."""
    async with cluster.controller():
        in_place = {"annotations": {"kaito.sh/surge": "false"}}
        await cluster.create_workspace(**TWO_NODES, **in_place)
        before = await _target(cluster)
        await eventually(lambda: _count(cluster, before))
        for claim in await cluster.claims():
            await cluster.bring_up(claim, gpus=2)
        await eventually(cluster.stateful_set)
        await cluster.serve()
    lighter = msgspec.structs.replace(LARGE, weights_bytes=20 * GIB)
    async with cluster.controller(replace(settings(), catalog=Catalog([lighter]))):
        await eventually(lambda: _asked(cluster, 1))
        await asyncio.sleep(0.3)
        assert len(await cluster.claims()) == before > 1
        await cluster.serve()
        await eventually(lambda: _count(cluster, 1))


async def test_a_node_that_the_user_names_is_taken_and_none_is_bought(cluster: Cluster):
    async with cluster.controller():
        await cluster.ready_node("own-1", OWN, gpus=1)
        resource = {"instanceType": "local-gpu-1", "labelSelector": {}, "preferredNodes": ["own-1"]}
        await cluster.create_workspace(resource=resource)
        await eventually(cluster.stateful_set)
        assert await cluster.claims() == []
        found = await cluster.stateful_set()
        assert found is not None
        affinity = found.spec["template"]["spec"]["affinity"]["nodeAffinity"]
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert terms[1]["matchFields"] == [
            {"key": "metadata.name", "operator": "In", "values": ["own-1"]}
        ]
        await cluster.client.delete(NODES, "own-1")
        await cluster.one_claim()


async def test_brought_along_by_name_with_no_label_at_all(cluster: Cluster):
    byo = settings(byo=True)
    async with cluster.controller(byo):
        resource = {"labelSelector": {}, "preferredNodes": ["own-2", "absent"]}
        await cluster.create_workspace(instance_type="", resource=resource)
        await eventually(lambda: _node_says(cluster, "preferredNodes that do not exist"))
        await cluster.ready_node("own-2", OWN, gpus=1)
        await eventually(cluster.stateful_set)
        assert (await cluster.workspace()).status.worker_nodes == ("own-2",)
        await cluster.client.delete(NODES, "own-2")
        await eventually(lambda: _node_says(cluster, "own-2, absent"))


async def test_two_workspaces_do_not_count_on_the_same_node(cluster: Cluster):
    byo = settings(byo=True)
    async with cluster.controller(byo):
        mine = {"team": cluster.namespace}
        await cluster.ready_node("own-3", {**OWN, **mine}, gpus=1)
        resource = {"labelSelector": {"matchLabels": mine}}
        await cluster.create_workspace(name="first", resource=resource)
        await eventually(lambda: cluster.stateful_set("first"))
        await _run_pod(cluster, "first", "own-3")
        await cluster.create_workspace(resource=resource)
        await eventually(
            lambda: _node_says(cluster, "used by another Workspace or RAGEngine: own-3")
        )
        await cluster.client.delete(PODS, "first-0", namespace=cluster.namespace)
        await eventually(lambda: _resource_ready(cluster))
    await cluster.client.delete(NODES, "own-3")


async def _run_pod(cluster: Cluster, workspace: str, node: str) -> None:
    """As its StatefulSet would make it: any other pod is outdated, and taken away at once."""
    made_from = await cluster.stateful_set(workspace)
    assert made_from is not None
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    account["metadata"]["namespace"] = cluster.namespace
    await cluster.client.create(account)
    await cluster.client.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{workspace}-0",
                "namespace": cluster.namespace,
                "labels": {"kaito.sh/workspace": workspace},
                "annotations": made_from.spec["template"]["metadata"]["annotations"],
            },
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "i"}],
            },
        }
    )


async def _class(pools: Pools, name: str) -> object:
    return await pools.client.get(CLASSES, name)


async def _class_ready(pools: Pools) -> bool:
    found = await pools.client.get(CLASSES, "ubuntu")
    said = found.status.get("conditions", []) if found else []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in said)


async def _classes_ready(pools: Pools) -> None:
    """What its provider does, where none runs."""
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
    ready["lastTransitionTime"] = "2026-11-21T12:00:00Z"
    for name in NODE_CLASSES.names:
        await eventually(lambda name=name: _class(pools, name))
        status = {"status": {"conditions": [ready]}}
        await pools.client.patch(CLASSES, name, status, subresource="status")


async def _waits_for_its_claims(pools: Pools) -> bool:
    """A pool that went before its claims would be missed by Karpenter as long as they last."""
    pool = await pools.pool()
    return pool is not None and "foregroundDeletion" in pool.metadata.finalizers


async def _collected(pools: Pools) -> bool:
    await pools.collect()
    return await pools.pool() is None


async def _workspace_gone(cluster: Cluster) -> bool:
    return await cluster.client.get(WORKSPACES, "falcon", cluster.namespace) is None


async def _replaced(pools: Pools, first: Unstructured) -> bool:
    pool = await pools.pool()
    return pool is not None and pool.metadata.uid != first.metadata.uid


async def _claims_are_ready(pools: Pools, number: int) -> bool:
    found = await pools.claims()
    return len(found) == number and all(each.is_true("Ready") for each in found)


async def _others_are_ready(pools: Pools, first: NodeClaim) -> bool:
    names = [each.metadata.name for each in await pools.claims()]
    return first.metadata.name not in names and await _claims_are_ready(pools, 1)


async def _resource_ready(cluster: Cluster) -> bool:
    return (await condition(cluster, "ResourceReady"))[0] == "True"


async def _reason(cluster: Cluster, reason: str) -> bool:
    return (await condition(cluster, "NodeClaimReady"))[1] == reason


async def _says(cluster: Cluster, words: str) -> bool:
    return words in (await cluster.workspace()).condition("NodeClaimReady").message


async def _node_says(cluster: Cluster, words: str) -> bool:
    return words in (await cluster.workspace()).condition("NodesReady").message


async def _target(cluster: Cluster) -> int:
    async def is_known() -> bool:
        return (await cluster.workspace()).status.target_node_count > 0

    await eventually(is_known)
    return (await cluster.workspace()).status.target_node_count


async def _count(cluster: Cluster, number: int) -> bool:
    live = [claim for claim in await cluster.claims() if not claim.deleting]
    return len(live) == number


async def _asked(cluster: Cluster, replicas: int) -> bool:
    found = await cluster.stateful_set()
    return found is not None and found.spec["replicas"] == replicas


async def _only_claim(cluster: Cluster, name: str) -> bool:
    return [claim.metadata.name for claim in await cluster.claims()] == [name]
