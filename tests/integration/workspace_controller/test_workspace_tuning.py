"""A Workspace that tunes, on a real API server: nodes, a Job, its end, and the nodes given back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import kubelet
import pytest
from jobs_at_work import JobAtWork, create_tuning
from said import progress, told
from workspace_cluster import Cluster, condition, eventually

from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.reports import Result, line
from kube.meta import Manifest
from kube.objects import CONFIG_MAPS, JOBS
from workspace_controller.workspace import tuning

RESULT = Result(
    steps=400,
    seconds=720,
    output="registry.example/tuned@sha256:1",
    eval_loss_before=2.31,
    eval_loss=1.02,
)
OTHER_DATA: Manifest = {"tuning": {"input": {"urls": ["https://data.example/b.jsonl"]}}}


async def start(cluster: Cluster, **given: Any) -> tuple[JobAtWork, str]:
    """A tuning whose pod is on its node."""
    await create_tuning(cluster, **given)
    node = await cluster.bring_up(await cluster.one_claim())
    job = JobAtWork(cluster, node)
    return job, await job.start_pod()


async def no_claims(cluster: Cluster) -> bool:
    return await cluster.claims() == []


async def test_from_a_node_to_the_result_and_back_to_no_node(cluster: Cluster):
    async with cluster.controller() as process:
        await create_tuning(cluster)
        await told(
            cluster,
            "JobStarted",
            "False",
            "WorkspaceTuningJobStatusPending",
            words="waiting for resources",
            stage="WaitingForNode",
        )
        node = await cluster.bring_up(await cluster.one_claim())
        job = JobAtWork(cluster, node)
        pod = await job.start_pod()
        await told(cluster, "JobStarted", "False", "WorkspaceTuningJobStatusPending")
        running = kubelet.pod(
            kubelet.container(kubelet.waiting("PodInitializing")),
            init=(kubelet.container(kubelet.RUNNING, "check"),),
        )
        await cluster.set_pod(pod, running)
        workspace = await told(
            cluster,
            "JobStarted",
            "True",
            "WorkspaceTuningJobStatusStarted",
            stage="WaitingForWeights",
        )
        assert workspace.status.state == "Running"
        await job.run_pod(pod)
        await told(cluster, "JobStarted", "True", "WorkspaceTuningJobStatusStarted", stage="Tuning")
        assert len(await cluster.claims()) == 1

        await job.end_pod(pod, 0, line(RESULT))
        workspace = await told(
            cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded", stage="Succeeded"
        )
        assert workspace.status.state == "Succeeded"
        assert workspace.status.tuning is not None
        assert workspace.status.tuning.output == RESULT.output
        assert workspace.status.tuning.eval_loss == "1.020"
        await eventually(lambda: no_claims(cluster))
        workspace = await told(
            cluster, "ResourceReady", "True", "NodesGivenBack", words="were given back"
        )
        assert workspace.status.worker_nodes == ()
        await cluster.touch_in_vain(process)
        reasons = [reason for _, reason in process.events.told]
        assert reasons == ["NodeClaimCreated", "TuningSucceeded", "NodesGivenBack"]


async def test_an_edit_afterwards_asks_for_a_node_anew_and_tunes_again(cluster: Cluster):
    async with cluster.controller() as process:
        job, pod = await start(cluster)
        first = await job.there()
        await job.end_pod(pod, 0, line(RESULT))
        await eventually(lambda: no_claims(cluster))
        await cluster.edit(OTHER_DATA)
        workspace = await told(
            cluster, "JobStarted", "False", "WorkspaceTuningJobStatusPending", words="resources"
        )
        assert workspace.status.state == "Pending"
        await cluster.bring_up(await cluster.one_claim())
        await eventually(job.is_going)
        await job.collect()
        second = await job.there()
        assert second.metadata.uid != first.metadata.uid
        (data,) = (
            each
            for each in second.spec["template"]["spec"]["initContainers"]
            if each["name"] == "data"
        )
        values = {each["name"]: each["value"] for each in data["env"]}
        assert values["DATA_URLS"] == "https://data.example/b.jsonl"
        assert ("Normal", "TuningRestarted") in process.events.told
        workspace = await cluster.workspace()
        assert workspace.status.tuning is not None
        assert workspace.status.tuning.output == ""


async def test_an_edit_of_the_configuration_replaces_a_job_at_work(cluster: Cluster):
    """Its pods are gone before the next Job is there; nodes are kept."""
    text = "training_config:\n  LoraConfig:\n    r: 8\n"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "training", "namespace": cluster.namespace},
        "data": {"training_config.yaml": text},
    }
    await cluster.client.create(config)
    async with cluster.controller():
        job, pod = await start(cluster, tuning={"config": "training"})
        await job.run_pod(pod)
        await told(cluster, "JobStarted", "True", "WorkspaceTuningJobStatusStarted")
        changed = {"data": {"training_config.yaml": text.replace("8", "16")}}
        await cluster.client.patch(CONFIG_MAPS, "training", changed, namespace=cluster.namespace)
        await eventually(job.is_going)
        assert len(await job.pods()) == 1
        await job.collect()
        await job.there()
        assert len(await cluster.claims()) == 1


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        pytest.param(71, "TuningOutOfMemory", "lower max_length", id="out of memory"),
        pytest.param(65, "InvalidData", "no column text", id="data"),
        pytest.param(66, "ModelNotTunable", "no safetensors", id="model"),
        pytest.param(78, "InvalidConfig", "LoraConfig.r", id="config"),
        pytest.param(77, "PushRefused", "403", id="push"),
    ],
)
async def test_what_another_pod_would_end_with_as_well_ends_it_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, code: int, reason: str, words: str
):
    monkeypatch.setattr(tuning, "GRACE", timedelta(seconds=2))
    async with cluster.controller() as process:
        job, pod = await start(cluster)
        await job.end_pod(pod, code, f"it says {words}")
        workspace = await told(cluster, "JobStarted", "False", reason, words=words, stage="Failed")
        assert workspace.condition("WorkspaceSucceeded").reason == "workspaceFailed"
        assert workspace.status.state == "Failed"
        assert progress(workspace).next_step
        assert len(await cluster.claims()) == 1
        await eventually(lambda: no_claims(cluster))
        workspace = await told(cluster, "ResourceReady", "True", "NodesGivenBack")
        assert workspace.status.state == "Failed"
        assert ("Warning", "TuningFailed") in process.events.told


async def test_other_failures_are_tried_again_and_then_given_up(cluster: Cluster):
    async with cluster.controller():
        job, pod = await start(cluster)
        for _ in range(3):
            await job.end_pod(pod, 1, "RuntimeError: odd")
            workspace = await told(
                cluster,
                "JobStarted",
                "True",
                "WorkspaceTuningJobStatusStarted",
                words="tried again",
            )
            assert workspace.status.state == "Running"
            pod = await job.start_pod()
        await job.end_pod(pod, 1, "RuntimeError: odd")
        workspace = await told(
            cluster,
            "JobStarted",
            "False",
            "WorkspaceTuningJobStatusFailed",
            words="given up after 4 pods; container falcon: RuntimeError: odd (exit code 1)",
        )
        assert workspace.status.state == "Failed"

        # Whoever has mended it deletes the Job; the node is there still.
        await cluster.client.delete(
            JOBS, "falcon", namespace=cluster.namespace, propagation="Foreground"
        )
        await eventually(job.is_going)
        await job.collect()
        await job.start_pod()
        assert len(await cluster.claims()) == 1


async def test_a_pod_that_is_taken_away_counts_for_nothing(cluster: Cluster):
    async with cluster.controller():
        job, pod = await start(cluster)
        for _ in range(5):
            await job.end_pod(pod, 75, "checkpoint 100 is kept", why="EvictionByEvictionAPI")
            await told(
                cluster,
                "JobStarted",
                "True",
                "WorkspaceTuningJobStatusStarted",
                words="another goes on from the last checkpoint",
            )
            pod = await job.start_pod()
        await job.end_pod(pod, 0, line(RESULT))
        await told(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded")


async def test_a_pod_that_cannot_start_is_told_by_its_kubelet(cluster: Cluster):
    async with cluster.controller():
        _, pod = await start(cluster)
        back_off = kubelet.waiting("ImagePullBackOff", "Back-off pulling image")
        await cluster.set_pod(pod, kubelet.pod(kubelet.container(back_off)))
        workspace = await told(
            cluster, "JobStarted", "False", "ImagePullError", stage="WaitingForImage"
        )
        assert workspace.status.state == "Pending"


async def test_nodes_may_be_kept(cluster: Cluster):
    async with cluster.controller() as process:
        job, pod = await start(cluster, annotations={"kaito.sh/keep-nodes": "true"})
        await job.end_pod(pod, 0, line(RESULT))
        await told(cluster, "WorkspaceSucceeded", "True", "workspaceSucceeded")
        await process.quiet()
        assert len(await cluster.claims()) == 1
        await cluster.edit({"metadata": {"annotations": {"kaito.sh/keep-nodes": None}}})
        await eventually(lambda: no_claims(cluster))


async def test_what_cannot_work_is_said_and_nothing_is_paid_for(cluster: Cluster):
    async with cluster.controller() as process:
        local = {"input": {"urls": ["http://localhost/a.jsonl"]}}
        await create_tuning(cluster, tuning=local)
        workspace = await told(
            cluster,
            "ResourceReady",
            "False",
            "InvalidTuning",
            words="localhost",
            stage="Validating",
        )
        assert workspace.status.state == "Failed"
        assert await condition(cluster, "WorkspaceSucceeded") == ("False", "workspaceFailed")
        await process.quiet()
    assert await cluster.claims() == []


def a_users_job(cluster: Cluster, labels: dict[str, str]) -> Manifest:
    pod = {"restartPolicy": "Never", "containers": [{"name": "own", "image": "own.example/own:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "falcon", "namespace": cluster.namespace, "labels": labels},
        "spec": {"template": {"spec": pod}},
    }


async def test_a_job_of_that_name_that_is_somebody_elses_is_left_alone(cluster: Cluster):
    await cluster.client.create(a_users_job(cluster, {"kaito.sh/workspace": "falcon"}))
    async with cluster.controller() as process:
        await create_tuning(cluster)
        workspace = await told(
            cluster, "JobStarted", "False", "JobNameTaken", words="falcon", stage="Validating"
        )
        assert workspace.status.state == "Failed"
        await process.quiet()
        assert await cluster.claims() == []
        await cluster.client.delete(
            JOBS, "falcon", namespace=cluster.namespace, propagation="Background"
        )
        await cluster.one_claim()


async def test_a_job_that_we_do_not_watch_is_told_once_it_is_in_the_way(cluster: Cluster):
    await cluster.client.create(a_users_job(cluster, {}))
    async with cluster.controller():
        await create_tuning(cluster)
        await cluster.bring_up(await cluster.one_claim())
        await told(
            cluster,
            "JobStarted",
            "False",
            "WorkspaceTuningJobStatusPending",
            words="already exists",
        )


async def test_at_its_end_pods_go_before_nodes(cluster: Cluster):
    async with cluster.controller():
        job, pod = await start(cluster)
        await job.run_pod(pod)
        await told(cluster, "JobStarted", "True", "WorkspaceTuningJobStatusStarted")
        (claim,) = await cluster.claims()
        await cluster.client.delete(WORKSPACES, "falcon", namespace=cluster.namespace)
        await told(
            cluster,
            "WorkspaceDeleting",
            "True",
            "workspaceDeleted",
            words=f"waiting for pods to end: {pod}",
        )
        assert await job.job() is None
        assert [each.metadata.name for each in await cluster.claims()] == [claim.metadata.name]
        await cluster.end_pod(pod)
        await eventually(lambda: no_claims(cluster))
