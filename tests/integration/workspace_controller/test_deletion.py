"""The end of a Workspace: pods, then nodes, then nothing, whatever dies in between."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from workspace_cluster import SERVICE_ACCOUNTS, Cluster, condition, eventually

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.objects import PODS
from localcluster.binaries import Binaries
from localcluster.controlplane import ControlPlane
from presets.catalog import Catalog
from tests import builders

pytestmark = pytest.mark.integration

TERMINATION = {"metadata": {"finalizers": ["karpenter.sh/termination"]}}
WRITES = 7
"""Delete StatefulSet, pod; say so; delete claim; say so; finalizer: and one more than that."""


async def test_nodes_stay_until_the_pods_have_ended(cluster: Cluster) -> None:
    async with cluster.controller() as process:
        claim = await serving(cluster)
        await asyncio.sleep(0.5)
        before = len(process.writes)
        await delete(cluster)
        await eventually(lambda: waits_for(cluster, "waiting for pods to end: falcon-0"))
        assert await cluster.stateful_set() is None
        pod = await cluster.client.get(PODS, "falcon-0", cluster.namespace)
        assert pod is not None
        assert pod.metadata.deletion_timestamp is not None
        found = await cluster.client.get(NODE_CLAIMS, claim)
        assert found is not None
        assert not found.deleting
        await end_pod(cluster)
        await eventually(lambda: waits_for(cluster, f"waiting for NodeClaims to end: {claim}"))
        assert process.writes[before:] == [
            "delete StatefulSet",
            "delete Pod",
            "patch Workspace status",
            "delete NodeClaim",
            "patch Workspace status",
        ]
        await give_back(cluster, claim)
        await eventually(lambda: gone(cluster))
    assert await cluster.claims() == []


async def test_a_stuck_pod_does_not_keep_paid_nodes(cluster: Cluster) -> None:
    """Nobody ends the pod: its kubelet is gone. Two graces later its node goes all the same."""
    async with cluster.controller():
        claim = await serving(cluster, grace=2)
        await delete(cluster)
        await eventually(lambda: waits_for(cluster, "waiting for pods to end: falcon-0"))
        await eventually(lambda: waits_for(cluster, f"{claim}; given up on pods falcon-0"))
        await give_back(cluster, claim)
        await eventually(lambda: gone(cluster))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"preset": "unknown-1b"}, id="unknown preset"),
        pytest.param({"instance_type": "unknown"}, id="unknown instance type"),
        pytest.param({"inference": {"config": "missing"}}, id="no ConfigMap"),
    ],
)
async def test_what_could_not_be_planned_can_be_deleted(cluster: Cluster, given: dict) -> None:
    async with cluster.controller():
        await cluster.create_workspace(**given)
        await eventually(lambda: has_finalizer(cluster))
        await delete(cluster)
        await eventually(lambda: gone(cluster))


async def test_one_that_became_invalid_still_gives_its_nodes_back(cluster: Cluster) -> None:
    async with cluster.controller():
        claim = await serving(cluster)
    await end_pod(cluster)
    # A release whose catalogue has the preset no longer.
    settings = dataclasses.replace(builders.settings(), catalog=Catalog([]))
    async with cluster.controller(settings):
        await eventually(lambda: is_unknown(cluster))
        await delete(cluster)
        await eventually(lambda: waits_for(cluster, claim))
        await give_back(cluster, claim)
        await eventually(lambda: gone(cluster))
    assert await cluster.claims() == []


async def test_claims_of_an_earlier_mode_go_too(cluster: Cluster) -> None:
    """Nodes came by standalone claims; by now the installation makes a NodePool instead."""
    async with cluster.controller():
        claim = await serving(cluster)
    await delete(cluster)
    await end_pod(cluster)
    pooled = builders.settings(node_classes=builders.NODE_CLASSES)
    async with cluster.controller(pooled):
        await eventually(lambda: waits_for(cluster, f"waiting for NodeClaims to end: {claim}"))
        await give_back(cluster, claim)
        await eventually(lambda: gone(cluster))
    assert await cluster.claims() == []


async def test_a_stateful_set_of_somebody_else_is_left(cluster: Cluster) -> None:
    async with cluster.controller():
        await cluster.create_workspace()
        await cluster.one_claim()
        await cluster.client.create(
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "falcon", "namespace": cluster.namespace},
                "spec": {
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {
                        "metadata": {"labels": {"a": "b"}},
                        "spec": {"containers": [{"name": "a", "image": "b"}]},
                    },
                },
            }
        )
        await delete(cluster)
        await eventually(lambda: gone(cluster))
        assert await cluster.stateful_set() is not None


@pytest.mark.parametrize("writes", range(WRITES))
async def test_killed_after_any_write_the_end_goes_on(cluster: Cluster, writes: int) -> None:
    async with cluster.controller():
        claim = await serving(cluster)
    await delete(cluster)
    async with kubelet_and_provisioner(cluster, claim):
        async with cluster.controller(dies_after=writes) as process:
            await eventually(lambda: is_dead_or_done(cluster, process.writes, writes))
        async with cluster.controller():
            await eventually(lambda: gone(cluster))
    assert await cluster.claims() == []
    assert await cluster.stateful_set() is None


async def test_an_api_server_that_restarts_in_between_loses_nothing(
    binaries: Binaries, tmp_path: Path, install: Callable[[Path], Awaitable[None]]
) -> None:
    """Once while the pods end, and once while the nodes do; it is away for a second each time."""
    plane = ControlPlane(tmp_path, binaries, with_parent=True)
    plane.start()
    try:
        await install(plane.kubeconfig)
        kinds = (WORKSPACES, NODE_CLAIMS, SERVICE_ACCOUNTS)
        endpoint = config.kubeconfig(str(plane.kubeconfig))
        async with Client(endpoint, field_manager="tests", kinds=kinds) as client:
            cluster = Cluster(plane.kubeconfig, client, "default")
            async with cluster.controller():
                claim = await serving(cluster)
                await delete(cluster)
                await eventually(lambda: waits_for(cluster, "waiting for pods to end: falcon-0"))
                await restart(plane)
                await end_pod(cluster)
                await eventually(lambda: waits_for(cluster, f"NodeClaims to end: {claim}"))
                await restart(plane)
                await give_back(cluster, claim)
                await eventually(lambda: gone(cluster))
            assert await cluster.claims() == []
    finally:
        plane.stop(grace_seconds=1)


async def restart(plane: ControlPlane) -> None:
    # An API server that is watched does not end by itself, however long one waits.
    plane.stop(grace_seconds=1)
    await asyncio.sleep(1)  # the controller notices, and tries
    plane.start()


async def serving(cluster: Cluster, *, grace: int = 30) -> str:
    """A Workspace with a pod on its node, and the name of its claim, which has an instance."""
    await cluster.create_workspace()
    claim = await cluster.one_claim()
    await cluster.client.patch(NODE_CLAIMS, claim.metadata.name, TERMINATION)
    node = await cluster.bring_up(claim)
    await eventually(cluster.stateful_set)
    found = await cluster.stateful_set()
    assert found is not None
    account = {"name": "default", "namespace": cluster.namespace}
    await cluster.client.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    await cluster.client.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "falcon-0",
                "namespace": cluster.namespace,
                **found.spec["template"]["metadata"],
            },
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": grace,
                "containers": [{"name": "falcon", "image": "registry.example/base:1"}],
                "automountServiceAccountToken": False,
            },
        }
    )
    return claim.metadata.name


async def delete(cluster: Cluster) -> None:
    await cluster.client.delete(WORKSPACES, "falcon", namespace=cluster.namespace)


async def end_pod(cluster: Cluster) -> None:
    """What a kubelet does once the containers have ended."""
    await cluster.client.delete(
        PODS, "falcon-0", namespace=cluster.namespace, grace_period_seconds=0
    )


async def give_back(cluster: Cluster, claim: str) -> None:
    """What a provisioner does once the instance is gone."""
    await cluster.client.patch(NODE_CLAIMS, claim, {"metadata": {"finalizers": None}})


@asynccontextmanager
async def kubelet_and_provisioner(cluster: Cluster, claim: str) -> AsyncIterator[None]:
    """Whatever is on its way out ends at once."""

    async def work() -> None:
        while True:
            pod = await cluster.client.get(PODS, "falcon-0", cluster.namespace)
            if pod is not None and pod.metadata.deletion_timestamp is not None:
                await end_pod(cluster)
            found = await cluster.client.get(NODE_CLAIMS, claim)
            if found is not None and found.deleting:
                await give_back(cluster, claim)
            await asyncio.sleep(0.03)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def waits_for(cluster: Cluster, words: str) -> bool:
    return words in (await cluster.workspace()).condition("WorkspaceDeleting").message


async def is_unknown(cluster: Cluster) -> bool:
    return await condition(cluster, "ResourceReady") == ("False", "InvalidPreset")


async def has_finalizer(cluster: Cluster) -> bool:
    return bool((await cluster.workspace()).metadata.finalizers)


async def gone(cluster: Cluster) -> bool:
    return await cluster.client.get(WORKSPACES, "falcon", cluster.namespace) is None


async def is_dead_or_done(cluster: Cluster, made: list[str], writes: int) -> bool:
    return len(made) >= writes or await gone(cluster)
