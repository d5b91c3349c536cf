"""From a Workspace to claims, from nodes to a model that serves, and back to nothing."""

from __future__ import annotations

import asyncio

import pytest
from workspace_cluster import Cluster, condition, eventually

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.objects import NODES
from workspace_controller.informers import STATEFUL_SETS
from workspace_controller.nodes.attempts import claim_name

pytestmark = pytest.mark.integration


async def test_a_new_workspace_gets_one_claim_in_exactly_this_shape(cluster: Cluster):
    async with cluster.controller():
        await cluster.create_workspace()
        claim = await cluster.one_claim()
        workspace = await cluster.workspace()
    assert claim.metadata.name == claim_name(workspace.metadata.uid, 0, 1)
    assert claim.metadata.labels == {
        "accelerator": "nvidia",
        "apps": "llm",
        "kaito.sh/workspace": "falcon",
        "kaito.sh/workspacenamespace": cluster.namespace,
    }
    assert claim.metadata.annotations == {
        "karpenter.sh/do-not-disrupt": "true",
        "kaito.sh/node-claim-ordinal": "0",
    }
    assert claim.metadata.owner_references == ()
    assert claim.spec.to_json() == {
        "nodeClassRef": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
        "requirements": [
            {
                "key": "node.kubernetes.io/instance-type",
                "operator": "In",
                "values": ["local-gpu-1"],
            },
            {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
            {
                "key": "karpenter.sh/capacity-type",
                "operator": "In",
                "values": ["on-demand", "reserved"],
            },
        ],
        "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        "expireAfter": "Never",
    }


async def test_until_the_claim_exists_and_the_status_is_right_it_takes_three_writes_and_an_event(
    cluster: Cluster,
):
    async with cluster.controller() as process:
        await cluster.create_workspace()
        await cluster.one_claim()
        await eventually(lambda: _is(cluster, "ResourceReady", "False", "NodeClaimNotReady"))
        await process.quiet()
        assert process.writes == [
            "patch Workspace metadata",
            "create NodeClaim",
            "patch Workspace status",
        ]
    workspace = await cluster.workspace()
    assert workspace.status.target_node_count == 1
    assert workspace.status.state == "Pending"
    assert workspace.metadata.finalizers == ("workspace.finalizer.kaito.sh",)
    assert ("Normal", "NodeClaimCreated") in process.events.told


async def test_a_ready_node_gets_the_workload_and_a_served_model_succeeds(cluster: Cluster):
    async with cluster.controller():
        await cluster.create_workspace()
        node = await cluster.bring_up(await cluster.one_claim())
        await eventually(cluster.stateful_set)
        assert await cluster.service("falcon") is not None
        assert await cluster.service("falcon-headless") is not None
        await cluster.serve()
        await eventually(lambda: _is(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded"))
    workspace = await cluster.workspace()
    assert workspace.status.state == "Ready"
    assert workspace.status.worker_nodes == (node,)
    said = {each.type: (each.status, each.reason) for each in workspace.status.conditions}
    assert said == {
        "NodeClaimReady": ("True", "NodeClaimsReady"),
        "NodesReady": ("True", "NodesReady"),
        "ResourceReady": ("True", "workspaceResourceStatusSuccess"),
        "InferenceReady": ("True", "WorkspaceInferenceStatusSuccess"),
        "WorkspaceSucceeded": ("True", "workspaceSucceeded"),
    }


async def test_a_node_without_its_gpus_is_waited_for(cluster: Cluster):
    async with cluster.controller():
        await cluster.create_workspace()
        node = await cluster.bring_up(await cluster.one_claim(), gpus=0)
        await eventually(lambda: _is(cluster, "ResourceReady", "False", "NodePluginsNotReady"))
        assert await cluster.stateful_set() is None
        offered = {"allocatable": {"cpu": "4", "memory": "12Gi", "nvidia.com/gpu": "1"}}
        await cluster.client.patch(NODES, node, {"status": offered}, subresource="status")
        await eventually(cluster.stateful_set)


async def test_nothing_is_written_while_nothing_changes(cluster: Cluster):
    async with cluster.controller() as process:
        await _serving(cluster)
        await process.quiet()
        before = len(process.writes)
        # Events that change nothing still start rounds.
        await cluster.edit({"metadata": {"labels": {"touched": "yes"}}})
        node = (await cluster.claims())[0].metadata.name
        await cluster.client.patch(NODES, node, {"metadata": {"labels": {"touched": "yes"}}})
        await asyncio.sleep(0.5)
        assert process.writes[before:] == []


async def test_a_restart_writes_nothing(cluster: Cluster):
    async with cluster.controller() as process:
        await _serving(cluster)
        await process.quiet()
    async with cluster.controller() as process:
        await asyncio.sleep(0.7)
        assert process.writes == []


async def test_an_edit_reaches_the_child_that_it_concerns(cluster: Cluster):
    async with cluster.controller() as process:
        await _serving(cluster)
        await process.quiet()
        before = len(process.writes)
        await cluster.edit({"metadata": {"annotations": {"kaito.sh/enablelb": "True"}}})
        await eventually(lambda: _service_type(cluster, "LoadBalancer"))
        await process.quiet()
        assert process.writes[before:] == ["apply Service falcon"]
    service = await cluster.service("falcon")
    assert service is not None
    assert [port["name"] for port in service.spec["ports"]] == ["http"]


async def test_a_deleted_child_comes_back(cluster: Cluster):
    async with cluster.controller():
        await _serving(cluster)
        await cluster.client.delete(STATEFUL_SETS, "falcon", namespace=cluster.namespace)
        await eventually(cluster.stateful_set)


async def test_a_claim_deleted_by_hand_is_replaced_by_the_next_attempt(cluster: Cluster):
    async with cluster.controller():
        await cluster.create_workspace()
        first = await cluster.one_claim()
        uid = (await cluster.workspace()).metadata.uid
        await cluster.client.delete(NODE_CLAIMS, first.metadata.name)
        await eventually(lambda: _only_claim(cluster, claim_name(uid, 0, 2)))
        await cluster.client.delete(NODE_CLAIMS, claim_name(uid, 0, 2))
        await eventually(lambda: _says(cluster, "attempt 3 follows after"))
        assert await cluster.claims() == []


async def test_a_claim_lost_while_nobody_looked_is_made_again_under_its_free_name(cluster: Cluster):
    async with cluster.controller() as process:
        await cluster.create_workspace()
        claim = (await cluster.one_claim()).metadata.name
        await process.quiet()
    await cluster.client.delete(NODE_CLAIMS, claim)
    async with cluster.controller():
        await eventually(lambda: _only_claim(cluster, claim))


async def test_a_provisioner_that_refuses_at_once_is_asked_twice_and_then_after_a_pause(
    cluster: Cluster,
):
    """The claim is gone again before anybody has looked; the user learns why all the same."""
    async with cluster.controller() as process, cluster.refusing("no A10 in zone a") as refused:
        await cluster.create_workspace()
        await eventually(lambda: _says(cluster, "no A10 in zone a; attempt 3 follows after"))
        await asyncio.sleep(1.0)
        uid = (await cluster.workspace()).metadata.uid
        assert refused == [claim_name(uid, 0, 1), claim_name(uid, 0, 2)]
        assert process.writes.count("create NodeClaim") == 2
    assert await condition(cluster, "ResourceReady") == ("False", "InsufficientCapacity")


async def test_a_replacement_comes_while_its_predecessor_drains(cluster: Cluster):
    async with cluster.controller():
        await cluster.create_workspace()
        first = await cluster.one_claim()
        uid = (await cluster.workspace()).metadata.uid
        await _hold(cluster, first.metadata.name)
        await cluster.client.delete(NODE_CLAIMS, first.metadata.name)
        await eventually(lambda: _has_claim(cluster, claim_name(uid, 0, 2)))
        assert len(await cluster.claims()) == 2


async def test_the_finalizer_stays_until_the_claims_are_gone(cluster: Cluster):
    async with cluster.controller():
        await _serving(cluster)
        claim = (await cluster.claims())[0].metadata.name
        await _hold(cluster, claim)
        await cluster.client.delete(WORKSPACES, "falcon", namespace=cluster.namespace)
        await eventually(lambda: _is(cluster, "WorkspaceDeleting", "True", "workspaceDeleted"))
        await eventually(lambda: _deleting(cluster, claim))
        await asyncio.sleep(0.3)
        assert await cluster.client.get(WORKSPACES, "falcon", cluster.namespace) is not None
        await cluster.client.patch(NODE_CLAIMS, claim, {"metadata": {"finalizers": None}})
        await eventually(lambda: _gone(cluster))
    assert await cluster.claims() == []


@pytest.mark.parametrize("writes", range(10))
async def test_killed_after_any_write_it_converges_with_the_same_claims(
    cluster: Cluster, writes: int
):
    """A model for several nodes; the process dies after so many writes, and another follows."""
    async with cluster.controller(dies_after=writes) as process:
        await cluster.create_workspace(preset="large-70b", instance_type="local-gpu-2")
        await eventually(lambda: process.dead_or_done(writes))
    async with cluster.controller():
        await eventually(lambda: _enough(cluster))
        await asyncio.sleep(0.3)
        workspace = await cluster.workspace()
        target = workspace.status.target_node_count
        assert target > 1
        assert sorted(claim.metadata.name for claim in await cluster.claims()) == sorted(
            claim_name(workspace.metadata.uid, ordinal, 1) for ordinal in range(target)
        )


@pytest.mark.parametrize("writes", range(4, 13))
async def test_killed_while_it_deploys_it_comes_up_all_the_same(cluster: Cluster, writes: int):
    async with cluster.controller(dies_after=writes) as process:
        await cluster.create_workspace()
        await cluster.bring_up(await cluster.one_claim())
        await eventually(lambda: process.dead_or_done(writes))
    async with cluster.controller():
        await eventually(cluster.stateful_set)
        await cluster.serve()
        await eventually(lambda: _is(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded"))
    assert len(await cluster.claims()) == 1


async def test_an_unknown_preset_is_said_once_and_not_tried_again(cluster: Cluster):
    """W-C19."""
    async with cluster.controller() as process:
        await cluster.create_workspace(preset="smal-1b")
        await eventually(lambda: _is(cluster, "ResourceReady", "False", "InvalidPreset"))
        await process.quiet()
        assert process.writes == ["patch Workspace metadata", "patch Workspace status"]
        assert process.events.told == [("Warning", "InvalidPreset")]
    assert await cluster.claims() == []


async def test_a_config_that_comes_late_starts_a_round(cluster: Cluster):
    async with cluster.controller():
        await cluster.create_workspace(inference={"config": "options"})
        await eventually(lambda: _is(cluster, "ResourceReady", "False", "InvalidConfig"))
        await cluster.create_config()
        await cluster.one_claim()


async def _serving(cluster: Cluster) -> None:
    await cluster.create_workspace()
    await cluster.bring_up(await cluster.one_claim())
    await eventually(cluster.stateful_set)
    await cluster.serve()
    await eventually(lambda: _is(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded"))


async def _is(cluster: Cluster, kind: str, *expected: str) -> bool:
    return await condition(cluster, kind) == expected


async def _says(cluster: Cluster, words: str) -> bool:
    return words in (await cluster.workspace()).condition("ResourceReady").message


async def _service_type(cluster: Cluster, kind: str) -> bool:
    service = await cluster.service("falcon")
    return service is not None and service.spec["type"] == kind


async def _has_claim(cluster: Cluster, name: str) -> bool:
    return name in [claim.metadata.name for claim in await cluster.claims()]


async def _only_claim(cluster: Cluster, name: str) -> bool:
    return [claim.metadata.name for claim in await cluster.claims()] == [name]


async def _hold(cluster: Cluster, claim: str) -> None:
    """As a provisioner does while there is an instance."""
    held = {"metadata": {"finalizers": ["karpenter.sh/termination"]}}
    await cluster.client.patch(NODE_CLAIMS, claim, held)


async def _deleting(cluster: Cluster, claim: str) -> bool:
    found = await cluster.client.get(NODE_CLAIMS, claim)
    return found is not None and found.deleting


async def _gone(cluster: Cluster) -> bool:
    return await cluster.client.get(WORKSPACES, "falcon", cluster.namespace) is None


async def _enough(cluster: Cluster) -> bool:
    target = (await cluster.workspace()).status.target_node_count
    return target > 0 and len(await cluster.claims()) >= target
