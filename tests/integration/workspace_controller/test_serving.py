"""From pods that do not come up to a model that serves, and nothing is called ready before."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kubelet
import pytest
from kubelet import CREATING, RUNNING, container, pod, terminated, waiting
from said import progress, told
from workspace_cluster import Cluster, eventually

from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kube.meta import Manifest
from kube.objects import PODS
from tests import builders
from workspace_controller.informers import STATEFUL_SETS
from workspace_controller.manifests.podhash import POD_HASH_ANNOTATION

pytestmark = pytest.mark.integration

QUIET = dataclasses.replace(builders.settings(), benchmark=False)
SUCCESS = "WorkspaceInferenceStatusSuccess"
PENDING = "WorkspaceInferenceStatusPending"
CRASH = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container")

POD_SAYS: list[tuple[Manifest, str, str, str, str]] = [
    # status, reason, words, stage, next step
    (pod(container(CREATING)), PENDING, "", "WaitingForImage", ""),
    (
        pod(container(waiting("ImagePullBackOff", 'Back-off pulling image "i": ' + "no " * 200))),
        "ImagePullError",
        "pod falcon-0: container falcon: Back-off pulling image",
        "WaitingForImage",
        "pull secret",
    ),
    (
        pod(container(waiting("CreateContainerConfigError", 'secret "hub" not found'))),
        "ContainerStartError",
        'pod falcon-0: container falcon: secret "hub" not found',
        "WaitingForEngine",
        "ConfigMaps and Secrets",
    ),
    (
        pod(container(CREATING), init=(container(RUNNING, "weights"),)),
        PENDING,
        "",
        "WaitingForWeights",
        "",
    ),
    (
        pod(
            container(CREATING),
            init=(container(CRASH, "weights", last=terminated(1, message="no space\n")),),
        ),
        "ContainerCrashLoopBackOff",
        "container weights: no space (exit code 1)",
        "WaitingForWeights",
        "kubectl logs --previous",
    ),
    (pod(container(RUNNING), phase="Running"), PENDING, "", "WaitingForEngine", ""),
    (
        pod(container(CRASH, last=terminated(137, "OOMKilled")), phase="Running"),
        "ContainerOOMKilled",
        "container falcon ran out of memory",
        "WaitingForEngine",
        "smaller max-model-len",
    ),
    (
        pod(container(CRASH, last=terminated(1, message="ValueError: bad flag")), phase="Running"),
        "ContainerCrashLoopBackOff",
        "container falcon: ValueError: bad flag (exit code 1)",
        "WaitingForEngine",
        "kubectl logs --previous",
    ),
]
EVICTIONS = [
    ("The node was low on resource: ephemeral-storage", "NodeDiskPressure", "larger disk"),
    ("The node was low on resource: memory", "NodeMemoryPressure", "more memory"),
    ("Preempted by a pod of a higher priority", "PodEvicted", "why the kubelet evicted it"),
]


async def make(cluster: Cluster, name: str = "falcon-0", *, pod_hash: str = "") -> None:
    found = await cluster.stateful_set()
    assert found is not None
    await cluster.make_pod(name, found)
    if pod_hash:
        changed = {"metadata": {"annotations": {POD_HASH_ANNOTATION: pod_hash}}}
        await cluster.client.patch(PODS, name, changed, namespace=cluster.namespace)


async def test_a_pod_is_told_by_its_scheduler_and_kubelet_until_it_serves(cluster: Cluster):
    async with cluster.controller(QUIET):
        await cluster.deploy()
        workspace = await told(
            cluster, "InferenceReady", "False", PENDING, words="0 of 1 inference"
        )
        assert workspace.condition("ResourceReady").reason == "workspaceResourceStatusSuccess"
        assert progress(workspace).stage == "WaitingForEngine"
        assert progress(workspace).usual != ""
        await make(cluster)
        await told(cluster, "InferenceReady", "False", PENDING, stage="WaitingForNode")
        why = {"reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu"}
        await cluster.set_pod("falcon-0", pod(placed=False, **why))
        workspace = await told(cluster, "InferenceReady", "False", "Unschedulable")
        assert progress(workspace).stage == "WaitingForNode"
        assert progress(workspace).message == f"pod falcon-0: {why['message']}"
        assert "what the pod asks for and the node lacks" in progress(workspace).next_step
        await cluster.place_pod("falcon-0")
        for status, *expected in POD_SAYS:
            await cluster.set_pod("falcon-0", status)
            workspace = await is_told(cluster, *expected)
            assert workspace.status.state == "Pending"
        for message, reason, next_step in EVICTIONS:
            await cluster.set_pod("falcon-0", kubelet.evicted(message))
            await is_told(cluster, reason, message, "WaitingForNode", next_step)
            await cluster.end_pod("falcon-0")
            await make(cluster)
            await cluster.place_pod("falcon-0")

        await cluster.set_pod("falcon-0", kubelet.serving())
        workspace = await told(cluster, "InferenceReady", "True", SUCCESS)
        assert workspace.condition("WorkspaceSucceeded").reason == "workspaceSucceeded"
        now = progress(workspace)
        assert (now.stage, now.message) == ("Ready", f"serving at {workspace.status.endpoint}")
        assert (now.reason, now.usual, now.next_step) == ("", "", "")


async def is_told(
    cluster: Cluster, reason: str, words: str, stage: str, next_step: str
) -> Workspace:
    workspace = await told(cluster, "InferenceReady", "False", reason, words=words, stage=stage)
    message, now = workspace.condition("InferenceReady").message, progress(workspace)
    assert len(message) <= 256
    assert next_step in now.next_step
    assert bool(next_step) == bool(now.next_step)
    assert workspace.condition("WorkspaceSucceeded").reason == "workspacePending"
    assert workspace.condition("WorkspaceSucceeded").message == message
    if reason != PENDING:
        assert (now.reason, now.message) == (reason, message)
    return workspace


async def test_what_has_served_is_never_pending_again(cluster: Cluster):
    async with cluster.controller(QUIET):
        await cluster.deploy()
        await make(cluster)
        assert (await cluster.workspace()).status.state == "Pending"
        for _ in range(2):
            await cluster.set_pod("falcon-0", kubelet.serving())
            workspace = await told(cluster, "InferenceReady", "True", SUCCESS)
            assert workspace.status.state == "Ready"
            await cluster.set_pod("falcon-0", pod(container(CRASH), phase="Running"))
            workspace = await told(cluster, "InferenceReady", "False", "ContainerCrashLoopBackOff")
            assert workspace.status.state == "NotReady"
        await cluster.set_pod("falcon-0", kubelet.serving())
        await told(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded", stage="Ready")
        node = (await cluster.claims())[0].metadata.name
        await cluster.set_pod("falcon-0", pod(container(RUNNING), phase="Running"))
        await cluster.set_node(node, ready=False)
        workspace = await told(cluster, "ResourceReady", "False", "NodeNotReady")
        workspace = await told(cluster, "InferenceReady", "False", PENDING, stage="WaitingForNode")
        assert workspace.status.state == "NotReady"
        await cluster.set_node(node)
        await cluster.set_pod("falcon-0", kubelet.serving())
        workspace = await told(cluster, "InferenceReady", "True", SUCCESS, stage="Ready")
        assert workspace.status.state == "Ready"


async def _counts(cluster: Cluster, **more: int) -> None:
    """What a StatefulSet controller may have said last, before it fell silent."""
    found = await cluster.stateful_set()
    assert found is not None
    of = {"replicas": 2, "readyReplicas": 2, "observedGeneration": found.metadata.generation}
    await cluster.client.patch(
        STATEFUL_SETS,
        "falcon",
        {"status": {**of, **more}},
        namespace=cluster.namespace,
        subresource="status",
    )


async def _no_pod_at_all(cluster: Cluster) -> None:
    await _counts(cluster, replicas=1, readyReplicas=1)


async def _a_pod_that_is_not(cluster: Cluster) -> None:
    await make(cluster)
    await cluster.set_pod("falcon-0", pod(container(RUNNING), phase="Running"))
    await _counts(cluster, replicas=1, readyReplicas=1, availableReplicas=1)


async def _counts_of_an_older_spec(cluster: Cluster) -> None:
    await _counts(cluster, replicas=1, readyReplicas=1, observedGeneration=0)
    await cluster.edit({"metadata": {"annotations": {"kaito.sh/performance-mode": "throughput"}}})


async def _none_is_wanted(cluster: Cluster) -> None:
    nothing = {"spec": {"replicas": 0}}
    await cluster.client.patch(STATEFUL_SETS, "falcon", nothing, namespace=cluster.namespace)
    await _counts(cluster, replicas=0, readyReplicas=0)


async def _a_pod_that_the_service_does_not_select(cluster: Cluster) -> None:
    await make(cluster, "falcon-1", pod_hash="0123456789abcdef")
    await cluster.set_pod("falcon-1", kubelet.serving())
    await _counts(cluster, replicas=1, readyReplicas=1)


async def _a_pod_that_has_ended(cluster: Cluster) -> None:
    await make(cluster)
    await cluster.place_pod("falcon-0")
    await cluster.set_pod("falcon-0", {**kubelet.serving(), "phase": "Failed", "reason": "Evicted"})
    await _counts(cluster, replicas=1, readyReplicas=1)


async def _a_pod_that_is_on_its_way_out(cluster: Cluster) -> None:
    await make(cluster)
    await cluster.place_pod("falcon-0")
    await cluster.client.delete(PODS, "falcon-0", namespace=cluster.namespace)
    await cluster.set_pod("falcon-0", kubelet.serving())
    await _counts(cluster, replicas=1, readyReplicas=1)


async def _an_outdated_pod_that_is_replaced_in_place(cluster: Cluster) -> None:
    await cluster.edit({"metadata": {"annotations": {"kaito.sh/surge": "false"}}})
    await _counts(cluster, replicas=1, readyReplicas=1)
    found = await cluster.stateful_set()
    assert found is not None
    # It is deleted as soon as it is seen, so that it has to serve before the controller sees it.
    labels = found.spec["template"]["metadata"]["labels"]
    hidden = dict.fromkeys(labels, "not-yet")
    await cluster.make_pod("falcon-0", found, labels=hidden)
    await cluster.set_pod("falcon-0", kubelet.serving())
    old = {"labels": labels, "annotations": {POD_HASH_ANNOTATION: "0123456789abcdef"}}
    await cluster.client.patch(PODS, "falcon-0", {"metadata": old}, namespace=cluster.namespace)
    await eventually(lambda: _has_gone(cluster, "falcon-0"))


@pytest.mark.parametrize(
    "pretend",
    [
        _no_pod_at_all,
        _a_pod_that_is_not,
        _counts_of_an_older_spec,
        _none_is_wanted,
        _a_pod_that_the_service_does_not_select,
        _a_pod_that_has_ended,
        _a_pod_that_is_on_its_way_out,
        _an_outdated_pod_that_is_replaced_in_place,
    ],
    ids=lambda pretend: pretend.__name__.strip("_").replace("_", " "),
)
async def test_nothing_is_called_ready_before_it_serves(cluster: Cluster, pretend: Any):
    async with cluster.controller(QUIET):
        await cluster.deploy()
        async with _watched(cluster) as versions:
            await pretend(cluster)
            await _looked_at(cluster)
            assert "Ready" not in [each.status.state for each in versions]
            assert "Ready" not in [progress(each).stage for each in versions]


async def test_half_an_engine_over_several_nodes_is_not_called_ready(cluster: Cluster):
    async with cluster.controller(QUIET):
        await cluster.deploy(preset="large-70b", instance_type="local-gpu-2")
        nodes = (await cluster.workspace()).status.target_node_count
        assert nodes > 1
        async with _watched(cluster) as versions:
            for ordinal in range(nodes):
                await make(cluster, f"falcon-{ordinal}")
            for ordinal in range(nodes - 1):
                await cluster.set_pod(f"falcon-{ordinal}", kubelet.serving())
            await _counts(cluster, replicas=nodes, readyReplicas=nodes)
            words = f"{nodes - 1} of {nodes} inference pods are ready"
            await told(cluster, "InferenceReady", "False", PENDING, words=words)
            await _looked_at(cluster)
            assert "Ready" not in [each.status.state for each in versions]
        await cluster.set_pod(f"falcon-{nodes - 1}", kubelet.serving())
        await told(cluster, "InferenceReady", "True", SUCCESS)


@asynccontextmanager
async def _watched(cluster: Cluster) -> AsyncIterator[list[Workspace]]:
    """Every version of the Workspaces that there ever was meanwhile."""
    versions: list[Workspace] = []
    start = (await cluster.client.list(WORKSPACES, namespace=cluster.namespace)).resource_version

    async def watch() -> None:
        stream = cluster.client.watch(
            WORKSPACES, resource_version=start, namespace=cluster.namespace, timeout_seconds=60
        )
        async for _, workspace, _ in stream:
            if workspace is not None:
                versions.append(workspace)

    task = asyncio.create_task(watch())
    try:
        yield versions
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _looked_at(cluster: Cluster) -> None:
    """Until the controller has told of changes that were made later, and a little longer."""
    node = (await cluster.claims())[0].metadata.name
    for pressure, words in ((("PIDPressure",), "PIDPressure"), ((), "Enough Nodes are ready")):
        await cluster.set_node(node, pressure=pressure, gpus=2)
        await told(cluster, "NodesReady", "True", "NodesReady", words=words)
    await asyncio.sleep(0.2)


async def _has_gone(cluster: Cluster, name: str) -> bool:
    return await cluster.client.get(PODS, name, cluster.namespace) is None
