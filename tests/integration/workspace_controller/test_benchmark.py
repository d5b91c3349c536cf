"""A served model is measured by a pod of its own, and nothing ever waits for that."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from kubelet import container, terminated
from said import progress, told
from workspace_cluster import Cluster, Process, eventually

from kube.errors import ForbiddenError
from kube.meta import Manifest
from kube.objects import Pod

pytestmark = pytest.mark.integration

FIGURES = {
    "vllm_total_tpm": 51234.5,
    "duration_sec": 10.1,
    "input_tokens": 812,
    "output_tokens": 128,
    "max_concurrency": 32,
    "engine_version": "0.32.0",
}
THROUGHPUT = {"metadata": {"annotations": {"kaito.sh/performance-mode": "throughput"}}}


async def test_nothing_waits_for_the_figures_and_nothing_is_written_once_they_are_there(
    cluster: Cluster,
):
    async with cluster.controller() as process:
        await _deployed(cluster)
        await cluster.serve()
        workspace = await told(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded")
        first = await _measuring(cluster)
        assert first.status.phase == "Pending"
        assert "BenchmarkCompleted" not in {each.type for each in workspace.status.conditions}

        await _ends(cluster, first, "Failed", 1, "the engine answered 500")
        words = "the engine answered 500"
        workspace = await told(
            cluster, "BenchmarkCompleted", "False", "BenchmarkFailed", words=words
        )
        _serves(workspace)
        await _rests(cluster, process)
        assert (await _measuring(cluster)).metadata.uid == first.metadata.uid

        # Whoever does not want to wait for an hour deletes it.
        await cluster.end_pod(first.metadata.name)
        await eventually(lambda: _is_another(cluster, first))
        second = await _measuring(cluster)
        await _ends(cluster, second, "Succeeded", 0, json.dumps(FIGURES))
        workspace = await told(cluster, "BenchmarkCompleted", "True", "BenchmarkCompleted")
        _serves(workspace)
        assert workspace.status.performance is not None
        metric = workspace.status.performance.metrics["peakTokensPerMinute"]
        assert (metric.value, metric.unit) == ("51234.50", "tokens/min")
        await eventually(lambda: _nobody_measures(cluster))
        await _rests(cluster, process)
    async with cluster.controller() as process:
        await asyncio.sleep(0.5)
        assert process.writes == []


async def test_a_benchmark_that_may_not_run_holds_nothing_up(cluster: Cluster):
    """A quota or a policy refuses its pod: edits reach the workload all the same."""
    async with cluster.controller() as process:
        process.client.create = _without_benchmarks(process.client.create)  # type: ignore[method-assign]
        await _deployed(cluster)
        await cluster.serve()
        words = "(last reconcile error: 403 Forbidden: no more pods"
        workspace = await told(
            cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded", words=words
        )
        _serves(workspace)
        before = await cluster.stateful_set()
        await cluster.edit(THROUGHPUT)
        await eventually(lambda: _differs(cluster, before))


def _serves(workspace: Any) -> None:
    reasons = {each.type: each.reason for each in workspace.status.conditions}
    assert reasons["InferenceReady"] == "WorkspaceInferenceStatusSuccess"
    assert reasons["WorkspaceSucceeded"] == "workspaceSucceeded"
    assert (workspace.status.state, progress(workspace).stage) == ("Ready", "Ready")


async def _deployed(cluster: Cluster) -> None:
    await cluster.create_workspace()
    await cluster.bring_up(await cluster.one_claim())
    await eventually(cluster.stateful_set)


async def _ends(cluster: Cluster, pod: Pod, phase: str, code: int, message: str) -> None:
    ended = container(terminated(code, message=message), "benchmark")
    status = {"phase": phase, "containerStatuses": [ended]}
    await cluster.set_pod(pod.metadata.name, status)


async def _measuring(cluster: Cluster) -> Pod:
    await eventually(lambda: cluster.benchmarks())
    (pod,) = await cluster.benchmarks()
    return pod


async def _is_another(cluster: Cluster, first: Pod) -> bool:
    found = await cluster.benchmarks()
    return bool(found) and found[0].metadata.uid != first.metadata.uid


async def _nobody_measures(cluster: Cluster) -> bool:
    return not await cluster.benchmarks()


async def _rests(cluster: Cluster, process: Process) -> None:
    """Events that change nothing start rounds, and these write nothing."""
    known = -1
    while known != len(process.writes):
        known = len(process.writes)
        await asyncio.sleep(0.3)
    await cluster.edit({"metadata": {"labels": {"touched": str(known)}}})
    await asyncio.sleep(0.3)
    assert process.writes[known:] == []


def _without_benchmarks(create: Any) -> Any:
    async def refusing(manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        if "-benchmark-" in manifest["metadata"]["name"]:
            raise ForbiddenError(403, "Forbidden", "no more pods in this namespace")
        made: Manifest = await create(manifest, dry_run=dry_run)
        return made

    return refusing


async def _differs(cluster: Cluster, before: Any) -> bool:
    found = await cluster.stateful_set()
    assert found is not None
    return bool(found.spec["template"] != before.spec["template"])
