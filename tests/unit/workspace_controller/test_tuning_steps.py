"""What a round does for a Workspace that tunes, given what is there."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from apis.kaito.v1beta1.status import TuningStatus
from apis.kaito.v1beta1.workspace import Workspace
from apis.reports import Reports, Result, Stage, Training, line
from kube.meta import Manifest, ObjectMeta
from kube.objects import ConfigMap, ContainerState, Unstructured
from presets.catalog import Catalog
from tests.builders import (
    NODE_CLASSES,
    NOW,
    UID,
    a_claim,
    a_gpu_node,
    a_node,
    a_world,
    settings,
)
from tests.tuning_worlds import (
    a_job,
    a_training_config,
    a_training_pod,
    a_tuning,
    annotated,
    with_status,
)
from workspace_controller.nodes.attempts import claim_name
from workspace_controller.plan import Plan
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.plan import make_plan
from workspace_controller.workspace.status import workspace_status
from workspace_controller.workspace.tuning import GRACE

SETTINGS = settings()
FIRST = claim_name(UID, 0, 1)
NODE: dict[str, Any] = {
    "claims": (a_claim(FIRST, node="node-1", ready=True),),
    "nodes": (a_node(),),
}
MEMORY = {"kaito.sh/node-claim-attempts": '{"0":{"attempt":1}}'}
RESULT = Result(
    steps=400,
    seconds=720,
    output="registry.example/tuned@sha256:1",
    eval_loss_before=2.31,
    eval_loss=1.02,
)


def made(plan: Plan) -> list[tuple[str, str]]:
    found = [(each["kind"], each["metadata"]["name"]) for each in (*plan.create, *plan.apply)]
    return [each for each in found if each[0] != "ControllerRevision"]


def job_of(workspace: Workspace, seen: Observed | None = None) -> Manifest:
    """The Job that is made once the nodes are there."""
    plan = make_plan(workspace, seen or a_world(**NODE), SETTINGS)
    (found,) = (each for each in plan.create if each["kind"] == "Job")
    return found


def after(workspace: Workspace, seen: Observed) -> tuple[Workspace, Plan]:
    """The Workspace once a round has reported."""
    plan = make_plan(workspace, seen, SETTINGS)
    status = workspace_status(workspace, plan, seen, now=seen.now)
    found = with_status(
        workspace, **{key: getattr(status, key) for key in type(status).model_fields}
    )
    return annotated(found, plan.annotations), plan


def told(workspace: Workspace) -> tuple[str, str, str, str]:
    """state, JobStarted, WorkspaceSucceeded, and the stage."""
    started = workspace.condition("JobStarted")
    succeeded = workspace.condition("WorkspaceSucceeded")
    stage = workspace.status.progress.stage if workspace.status.progress else ""
    return workspace.status.state, started.reason, succeeded.reason, stage


def events(plan: Plan) -> list[str]:
    return [each.reason for each in plan.events]


def deleted(plan: Plan) -> list[tuple[str, str]]:
    return [(each.resource.kind, each.name) for each in plan.delete]


@pytest.fixture
def workspace() -> Workspace:
    return a_tuning(annotations=MEMORY)


def test_nodes_first_then_the_job(workspace: Workspace):
    reported, plan = after(workspace, a_world())
    assert made(plan) == [("NodeClaim", FIRST)]
    assert plan.target_node_count == 1
    assert told(reported) == (
        "Pending",
        "WorkspaceTuningJobStatusPending",
        "workspacePending",
        "WaitingForNode",
    )
    reported, plan = after(workspace, a_world(**NODE))
    assert made(plan) == [("Job", "falcon")]
    assert told(reported)[0] == "Pending"


def test_nodes_of_ones_own_will_do():
    workspace = a_tuning(instance_type="")
    seen = a_world(nodes=(a_gpu_node(),))
    plan = make_plan(workspace, seen, settings(byo=True))
    assert made(plan) == [("Job", "falcon")]


@pytest.mark.parametrize(
    ("tuning", "instance_type", "reason", "words"),
    [
        pytest.param(
            {"preset": {"name": "large-70b"}},
            "local-gpu-1",
            "ModelDoesNotFit",
            "resource.instanceType: lora of large-70b needs",
            id="does not fit",
        ),
        pytest.param({"method": "dora"}, "local-gpu-1", "InvalidTuning", "method", id="method"),
        pytest.param(
            {"preset": {"name": "smal-1b"}}, "local-gpu-1", "InvalidPreset", "small-1b", id="preset"
        ),
        pytest.param(
            {"config": "absent"}, "local-gpu-1", "InvalidConfig", "absent", id="no ConfigMap"
        ),
        pytest.param(
            {"output": {"image": "a/b:1"}},
            "local-gpu-1",
            "InvalidTuning",
            "imagePushSecret",
            id="no push secret",
        ),
        pytest.param({}, "local-gpu-9", "InvalidInstanceType", "local-gpu-9", id="instance type"),
    ],
)
def test_what_cannot_work_is_refused_before_a_node_is_paid_for(
    tuning: Manifest, instance_type: str, reason: str, words: str
):
    workspace = a_tuning(tuning=tuning, instance_type=instance_type)
    reported, plan = after(workspace, a_world())
    assert made(plan) == []
    assert reported.condition("ResourceReady").reason == reason
    assert words in reported.condition("ResourceReady").message
    assert told(reported) == (
        "Failed",
        "WorkspaceTuningJobStatusPending",
        "workspaceFailed",
        "Validating",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"runtimes": ("llamacpp",)}, "GGUF weights alone", id="GGUF"),
        pytest.param({"quantization": "fp8"}, "weights in bfloat16", id="quantised"),
    ],
)
def test_what_can_never_be_tuned_says_what_to_name_instead(change: dict[str, Any], words: str):
    model = msgspec.structs.replace(SETTINGS.catalog.get("small-1b"), **change)
    installed = dataclasses.replace(SETTINGS, catalog=Catalog([model]))
    plan = make_plan(a_tuning(), a_world(), installed)
    assert plan.blocked is not None
    assert plan.blocked.reason == "InvalidPreset"
    assert words in plan.blocked.message


RUNNING: dict[str, ContainerState] = {"weights": ContainerState(running={})}


@pytest.mark.parametrize(
    ("pod", "reports", "expected", "words"),
    [
        pytest.param(
            None, None, ("Pending", "Pending", "WaitingForImage"), "on its way", id="none"
        ),
        pytest.param(
            {"phase": "Pending", "waiting": ("ImagePullBackOff", "Back-off pulling image")},
            None,
            ("Pending", "ImagePullError", "WaitingForImage"),
            "Back-off pulling image",
            id="image pull",
        ),
        pytest.param(
            {"phase": "Pending", "init": RUNNING},
            None,
            ("Running", "Started", "WaitingForWeights"),
            "weights are downloaded",
            id="weights",
        ),
        pytest.param({}, None, ("Running", "Started", "Tuning"), "the Job runs", id="silent"),
        pytest.param(
            {},
            Reports(stage=Stage(stage="load", message="loading the model")),
            ("Running", "Started", "Tuning"),
            "loading the model",
            id="stage",
        ),
        pytest.param(
            {},
            Reports(training=Training(step=120, steps=400, loss=1.2345, eta_seconds=180)),
            ("Running", "Started", "Tuning"),
            "step 120 of 400, loss 1.234, 3m left",
            id="steps",
        ),
        pytest.param(
            {},
            Reports(
                training=Training(step=400, steps=400), stage=Stage(stage="push", message="pushing")
            ),
            ("Running", "Started", "Tuning"),
            "step 400 of 400; pushing",
            id="pushing",
        ),
    ],
)
def test_a_job_at_work_is_told_by_its_pod(
    workspace: Workspace,
    pod: dict[str, Any] | None,
    reports: Reports | None,
    expected: tuple[str, str, str],
    words: str,
):
    pods = () if pod is None else (a_training_pod(**pod),)
    job = a_job(job_of(workspace), active=len(pods))
    known = {pods[0].metadata.uid: reports} if reports else {}
    reported, plan = after(workspace, a_world(**NODE, job=job, pods=pods, reports=known))
    state, started, succeeded, stage = told(reported)
    assert (state, started.removeprefix("WorkspaceTuningJobStatus"), stage) == expected
    assert succeeded == "workspacePending"
    assert reported.status.progress is not None
    assert words in reported.status.progress.message
    assert (made(plan), deleted(plan)) == ([], [])


def test_progress_stays_when_the_log_is_silent(workspace: Workspace):
    pod = a_training_pod()
    job = a_job(job_of(workspace), active=1)
    training = Training(
        step=120, steps=400, loss=1.5, eval_loss_before=2.5, checkpoint_step=100, eta_seconds=60
    )
    known = {pod.metadata.uid: Reports(training=training)}
    reported, _ = after(workspace, a_world(**NODE, job=job, pods=(pod,), reports=known))
    second = a_training_pod("falcon-fghij", age=5)
    job = a_job(job_of(workspace), active=1)
    reported, _ = after(reported, a_world(**NODE, job=job, pods=(pod, second)))
    status = reported.status.tuning
    assert status == TuningStatus(
        step=120,
        steps=400,
        loss="1.500",
        eval_loss_before="2.500",
        checkpoint_step=100,
        eta="60s",
        attempts=2,
    )


def test_success_gives_the_nodes_back_at_once(workspace: Workspace):
    pod = a_training_pod(exit_code=0, message=line(RESULT))
    job = a_job(job_of(workspace), complete=True, succeeded=1)
    seen = a_world(**NODE, job=job, pods=(pod,))
    reported, plan = after(workspace, seen)
    assert told(reported) == (
        "Succeeded",
        "WorkspaceTuningJobStatusStarted",
        "workspaceSucceeded",
        "Succeeded",
    )
    assert reported.condition("WorkspaceSucceeded").message == (
        "tuned in 400 steps; held-out loss 2.310 → 1.020;"
        " the result is registry.example/tuned@sha256:1"
    )
    # What the pod said goes with its node, so it is stored first: in a round of its own.
    assert (deleted(plan), events(plan)) == ([], ["TuningSucceeded"])
    reported, plan = after(reported, seen)
    assert reported.condition("ResourceReady").reason == "NodesGivenBack"
    assert FIRST in reported.condition("ResourceReady").message
    assert reported.condition("NodesReady").reason == "AwaitingReconciliation"
    assert (deleted(plan), reported.status.worker_nodes) == ([("NodeClaim", FIRST)], ())
    assert events(plan) == ["NodesGivenBack"]
    assert reported.status.tuning is not None
    assert reported.status.tuning.output == RESULT.output

    going = (a_claim(FIRST, node="node-1", ready=True, deleting=True),)
    again, plan = after(reported, dataclasses.replace(seen, claims=going))
    assert (deleted(plan), made(plan), events(plan), plan.annotations) == ([], [], [], {})
    alone, plan = after(again, a_world())
    assert told(alone)[0] == "Succeeded"
    assert (made(plan), alone.status.tuning) == ([], reported.status.tuning)
    assert alone.condition("ResourceReady").message == (
        "the tuning has succeeded, and its nodes were given back"
    )


def test_no_status_that_cannot_be_written_keeps_nodes(workspace: Workspace):
    job = a_job(job_of(workspace), complete=True, succeeded=1)
    seen = a_world(**NODE, job=job)
    assert make_plan(workspace, seen, SETTINGS).look_again == GRACE.total_seconds()
    plan = make_plan(workspace, dataclasses.replace(seen, now=NOW + GRACE), SETTINGS)
    assert deleted(plan) == [("NodeClaim", FIRST)]


def test_the_result_is_waited_for_before_its_node_goes(workspace: Workspace):
    job = a_job(job_of(workspace), complete=True, succeeded=1)
    seen = a_world(**NODE, job=job, pods=(a_training_pod(),))
    reported, _ = after(workspace, seen)
    reported, plan = after(reported, seen)
    assert (told(reported)[0], deleted(plan)) == ("Succeeded", [])


def test_nodes_that_are_given_back_are_no_loss(workspace: Workspace):
    """An edit asks for others at once, while the old ones are still going."""
    job = a_job(job_of(workspace), complete=True, succeeded=1)
    reported, _ = after(workspace, a_world(**NODE, job=job))
    reported, plan = after(reported, a_world(**NODE, job=job))
    assert plan.annotations["kaito.sh/node-claim-attempts"] == '{"0":{"attempt":2}}'
    edited = a_tuning(
        tuning={"input": {"urls": ["https://data.example/b.jsonl"]}},
        annotations=reported.metadata.annotations,
    )
    going = (a_claim(FIRST, node="node-1", ready=True, deleting=True),)
    again, plan = after(edited, a_world(claims=going, nodes=(), job=job))
    assert made(plan) == [("NodeClaim", claim_name(UID, 0, 2))]
    assert again.condition("NodeClaimReady").message == "0 of 1 NodeClaims are ready"


@pytest.mark.parametrize("keep", ["annotation", "byo", "failed"])
def test_nodes_that_stay(keep: str):
    annotations = {"kaito.sh/keep-nodes": "true"} if keep == "annotation" else {}
    workspace = a_tuning(annotations={**MEMORY, **annotations})
    done = {"failed": "PodFailurePolicy"} if keep == "failed" else {"complete": True}
    job = a_job(job_of(workspace), **done)
    installed = settings(byo=True) if keep == "byo" else SETTINGS
    seen = a_world(**NODE, job=job)
    if keep != "failed":
        workspace, _ = after(workspace, seen)
    plan = make_plan(workspace, seen, installed)
    assert deleted(plan) == []
    (resource,) = (each for each in plan.conditions if each.type == "ResourceReady")
    assert resource.status == "True"
    words = {"annotation": "keep-nodes", "byo": "the user's own", "failed": "15 minutes"}
    assert words[keep] in resource.message
    assert plan.look_again == (GRACE.total_seconds() if keep == "failed" else None)


def test_a_pool_is_given_back_whole():
    installed = settings(node_classes=NODE_CLASSES)
    labels = {
        "karpenter.kaito.sh/workspace-name": "falcon",
        "karpenter.kaito.sh/workspace-namespace": "default",
    }
    pool = Unstructured(metadata=ObjectMeta(name="default-falcon", uid="p", labels=labels))
    workspace = a_tuning()
    job = a_job(job_of(workspace), complete=True)
    workspace, _ = after(workspace, a_world(job=job))
    plan = make_plan(workspace, a_world(job=job, pool=pool), installed)
    assert deleted(plan) == [("NodePool", "default-falcon")]
    others = Unstructured(metadata=ObjectMeta(name="default-falcon", uid="p"))
    plan = make_plan(workspace, a_world(job=job, pool=others), installed)
    assert deleted(plan) == []


@pytest.mark.parametrize(
    ("failed", "pod", "reason", "words"),
    [
        pytest.param(
            "PodFailurePolicy",
            {"exit_code": 71, "message": "CUDA out of memory: lower max_length"},
            "TuningOutOfMemory",
            "container falcon: CUDA out of memory: lower max_length (exit code 71)",
            id="out of GPU memory",
        ),
        pytest.param(
            "BackoffLimitExceeded",
            {"exit_code": 137, "reason": "OOMKilled"},
            "TuningOutOfMemory",
            "given up after 4 pods; container falcon: it took more memory than the node has",
            id="killed by the kubelet",
        ),
        pytest.param(
            "PodFailurePolicy",
            {"exit_code": 65, "message": "row 3 has no column text"},
            "InvalidData",
            "row 3 has no column text",
            id="data",
        ),
        pytest.param(
            "PodFailurePolicy", {"exit_code": 66}, "ModelNotTunable", "exit code 66", id="model"
        ),
        pytest.param(
            "PodFailurePolicy", {"exit_code": 78}, "InvalidConfig", "exit code 78", id="config"
        ),
        pytest.param(
            "PodFailurePolicy", {"exit_code": 77}, "PushRefused", "exit code 77", id="push"
        ),
        pytest.param(
            "BackoffLimitExceeded",
            {"exit_code": 1, "message": "Traceback\nRuntimeError: no"},
            "WorkspaceTuningJobStatusFailed",
            "given up after 4 pods; container falcon: RuntimeError: no (exit code 1)",
            id="anything else",
        ),
        pytest.param(
            "BackoffLimitExceeded",
            None,
            "WorkspaceTuningJobStatusFailed",
            "Job has failed: BackoffLimitExceeded",
            id="pods are gone",
        ),
    ],
)
def test_a_failure_is_told_by_its_kind(
    workspace: Workspace, failed: str, pod: dict[str, Any] | None, reason: str, words: str
):
    job = a_job(job_of(workspace), failed=failed)
    job = msgspec.structs.replace(job, status={**job.status, "failed": 4})
    pods = () if pod is None else (a_training_pod(**pod),)
    reported, plan = after(workspace, a_world(**NODE, job=job, pods=pods))
    assert told(reported) == ("Failed", reason, "workspaceFailed", "Failed")
    assert words in reported.condition("JobStarted").message
    assert reported.status.progress is not None
    assert (reported.status.progress.reason, bool(reported.status.progress.next_step)) == (
        reason,
        True,
    )
    assert events(plan) == ["TuningFailed"]
    again, plan = after(reported, a_world(**NODE, job=job, pods=pods))
    assert events(plan) == []
    later = NOW + GRACE
    given_back, plan = after(again, a_world(now=later, **NODE, job=job, pods=pods))
    assert deleted(plan) == [("NodeClaim", FIRST)]
    assert told(given_back) == ("Failed", reason, "workspaceFailed", "Failed")


def test_a_pod_of_many_is_no_failure_and_its_node_may_go(workspace: Workspace):
    """Drained, preempted, or with its node lost: another goes on."""
    job = a_job(job_of(workspace), active=1)
    gone = a_training_pod(exit_code=75, interrupted="Eviction API: evicting")
    reported, _ = after(workspace, a_world(**NODE, job=job, pods=(gone,)))
    assert told(reported)[:2] == ("Running", "WorkspaceTuningJobStatusStarted")
    assert "another goes on from the last checkpoint" in reported.condition("JobStarted").message
    failed = a_training_pod("falcon-b", age=5, exit_code=69, message="registry is away")
    reported, _ = after(reported, a_world(**NODE, job=job, pods=(failed,)))
    assert "failed and is tried again: container falcon: registry is away" in (
        reported.condition("JobStarted").message
    )


EDITED = {"input": {"urls": ["https://data.example/b.jsonl"]}}


@pytest.mark.parametrize(
    "before", [pytest.param(True, id="succeeded"), pytest.param(False, id="at work")]
)
def test_an_edit_ends_the_job_and_then_makes_another(before: bool):
    """Never two at once: the one that goes takes its pods with it first."""
    workspace = a_tuning()
    job = a_job(job_of(workspace), complete=before, active=int(not before))
    edited = a_tuning(tuning=EDITED)
    seen = a_world(**NODE, job=job)
    plan = make_plan(edited, seen, SETTINGS)
    assert ("Job", "falcon") in deleted(plan)
    assert [each.propagation for each in plan.delete] == ["Foreground"]
    assert (made(plan), events(plan)) == ([], ["TuningRestarted"])
    assert ("has succeeded" in plan.events[0].message) == before
    going = a_job(job_of(workspace), complete=before, deleting=True)
    plan = make_plan(edited, dataclasses.replace(seen, job=going), SETTINGS)
    assert (made(plan), deleted(plan)) == ([], [])
    assert made(make_plan(edited, a_world(**NODE), SETTINGS)) == [("Job", "falcon")]


CONFIGURED = {"config": "training"}


@pytest.mark.parametrize(
    ("config", "restarted"),
    [
        pytest.param(a_training_config(), False, id="as it was"),
        pytest.param(
            a_training_config("training_config:\n  LoraConfig:\n    r: 4\n"), True, id="edited"
        ),
        pytest.param(
            a_training_config(
                "# reviewed\ntraining_config:\n    TrainingArguments:\n"
                "        output_dir: /mnt/out  # the volume\n"
            ),
            False,
            id="commented",
        ),
    ],
)
def test_a_configuration_that_is_edited_is_another_run(config: ConfigMap, restarted: bool):
    workspace = a_tuning(tuning=CONFIGURED)
    first = job_of(workspace, a_world(**NODE, config=a_training_config()))
    plan = make_plan(workspace, a_world(**NODE, config=config, job=a_job(first)), SETTINGS)
    assert (events(plan) == ["TuningRestarted"]) == restarted


def test_who_tidies_up_afterwards_asks_for_nothing_new():
    """Job and ConfigMap may go once it has succeeded; nothing is tuned again."""
    workspace = a_tuning(tuning=CONFIGURED)
    config = a_training_config()
    first = job_of(workspace, a_world(**NODE, config=config))
    reported, _ = after(workspace, a_world(job=a_job(first, complete=True), config=config))
    for seen in (a_world(job=a_job(first, complete=True)), a_world(config=config), a_world()):
        again, plan = after(reported, seen)
        assert (made(plan), told(again)[0]) == ([], "Succeeded")
    forgotten = annotated(reported, {"kaito.sh/tuned": ""})
    assert made(make_plan(forgotten, a_world(config=config), SETTINGS)) == [
        ("NodeClaim", FIRST),
    ]


SECRETS: tuple[Any, ...] = (
    {"output": {"image": "registry.example/tuned:1", "imagePushSecret": "rotated"}},
    {"preset": {"name": "small-1b", "presetOptions": {"modelAccessSecret": "rotated"}}},
)


@pytest.mark.parametrize("change", SECRETS)
def test_another_secret_is_another_try_but_nothing_after_success(change: dict[str, Any]):
    first = job_of(a_tuning())
    rotated = a_tuning(tuning=change)
    failed = a_job(first, failed="PodFailurePolicy")
    assert deleted(make_plan(rotated, a_world(**NODE, job=failed), SETTINGS)) == [("Job", "falcon")]
    done = a_job(first, complete=True)
    reported, _ = after(a_tuning(), a_world(job=done))
    again = annotated(rotated, reported.metadata.annotations)
    for job in (done, None):
        found, plan = after(again, a_world(job=job))
        assert (told(found)[0], made(plan), deleted(plan)) == ("Succeeded", [], [])


def test_back_to_what_has_succeeded_takes_no_node_and_nothing_of_the_failure():
    done, _ = after(a_tuning(), a_world(job=a_job(job_of(a_tuning()), complete=True)))
    edited = a_tuning(tuning=EDITED, annotations=done.metadata.annotations)
    second = job_of(edited)
    training = Training(step=7, steps=9, loss=1.5)
    pod = a_training_pod(exit_code=65)
    known = {pod.metadata.uid: Reports(training=training)}
    failed = a_job(second, failed="PodFailurePolicy")
    reported, _ = after(edited, a_world(**NODE, job=failed, pods=(pod,), reports=known))
    assert told(reported)[0] == "Failed"
    assert reported.status.tuning is not None
    assert reported.status.tuning.step == 7
    back = with_status(
        a_tuning(annotations=reported.metadata.annotations),
        **{key: getattr(reported.status, key) for key in ("tuning", "conditions")},
    )
    again, plan = after(back, a_world(job=failed, pods=(pod,), reports=known))
    assert (made(plan), told(again)[0]) == ([], "Succeeded")
    assert again.status.tuning == TuningStatus()
    # One that has succeeded has written over what the first had written.
    over = a_job(second, complete=True)
    assert made(make_plan(back, a_world(job=over), SETTINGS)) == [("NodeClaim", FIRST)]


def test_another_run_has_a_status_of_its_own_before_its_job_is_there():
    """So that no conflict, when the Job is made, leaves it what the last one came to."""
    result = TuningStatus(step=9, steps=9, output="registry.example/tuned@sha256:1", attempts=3)
    edited = with_status(a_tuning(tuning=EDITED), tuning=result)
    job = a_job(job_of(a_tuning()), complete=True)
    for seen in (a_world(job=job), a_world(**NODE, job=job), a_world()):
        reported, _ = after(edited, seen)
        assert reported.status.tuning == TuningStatus()


def test_no_trainer_begins_while_one_still_writes(workspace: Workspace):
    """`kubectl delete job` does not wait for the pod, which has two minutes for a checkpoint."""
    job = job_of(workspace)
    assert job["metadata"]["name"] == "falcon"
    left = a_training_pod()
    reported, plan = after(workspace, a_world(**NODE, pods=(left,)))
    assert made(plan) == []
    assert left.metadata.name in reported.condition("JobStarted").message
    for pods in ((), (a_training_pod(exit_code=75),)):
        assert made(make_plan(workspace, a_world(**NODE, pods=pods), SETTINGS)) == [
            ("Job", "falcon")
        ]


def test_a_failed_job_that_is_deleted_is_made_again(workspace: Workspace):
    assert made(make_plan(workspace, a_world(**NODE), SETTINGS)) == [("Job", "falcon")]
    going = a_job(job_of(workspace), failed="PodFailurePolicy", deleting=True)
    plan = make_plan(workspace, a_world(**NODE, job=going), SETTINGS)
    assert (made(plan), deleted(plan), plan.waits_for) == (
        [],
        [],
        "WorkspaceTuningJobStatusPending",
    )


def test_an_upgrade_tunes_nothing_anew(workspace: Workspace):
    """Another image is no other run, neither for a Job at work nor for one that is done."""
    newer = dataclasses.replace(SETTINGS, image_tag="9.9.9")
    for done in (True, False):
        job = a_job(job_of(workspace), complete=done)
        plan = make_plan(workspace, a_world(**NODE, job=job), newer)
        assert (made(plan), [kind for kind, _ in deleted(plan) if kind == "Job"]) == ([], [])


def test_other_nodes_than_the_jobs_pods_can_reach_take_another_job():
    job = a_job(job_of(a_tuning()))
    elsewhere = a_tuning(labels={"apps": "other"})
    node = a_node(labels={"apps": "other"})
    plan = make_plan(elsewhere, a_world(**{**NODE, "nodes": (node,)}, job=job), SETTINGS)
    assert deleted(plan) == [("Job", "falcon")]
    waiting = a_training_pod(node="", phase="Pending")
    seen = a_world(**{**NODE, "nodes": (node,)}, job=job, pods=(waiting,))
    assert deleted(make_plan(elsewhere, seen, SETTINGS)) == [("Job", "falcon")]
    # What trains is where it is: it would lose what it has done since its checkpoint.
    seen = dataclasses.replace(seen, pods=(a_training_pod(),))
    assert deleted(make_plan(elsewhere, seen, SETTINGS)) == []


@pytest.mark.parametrize("world", [NODE, {}], ids=["with nodes", "without"])
def test_anothers_job_is_left_alone_and_no_node_is_paid_for(
    workspace: Workspace, world: dict[str, Any]
):
    earlier = a_job(job_of(workspace), complete=True, owner="uid-of-another")
    reported, plan = after(workspace, a_world(**world, job=earlier))
    assert (made(plan), deleted(plan), told(reported)[0]) == ([], [], "Pending")
    assert "of an earlier Workspace ends" in reported.condition("JobStarted").message
    meta = msgspec.structs.replace(earlier.metadata, owner_references=())
    users = msgspec.structs.replace(earlier, metadata=meta)
    reported, plan = after(workspace, a_world(**world, job=users))
    assert (made(plan), deleted(plan), told(reported)[0]) == ([], [], "Failed")
    assert reported.condition("JobStarted").reason == "JobNameTaken"
    tuned, _ = after(workspace, a_world(job=a_job(job_of(workspace), complete=True)))
    reported, plan = after(tuned, a_world(job=users))
    assert (made(plan), told(reported)[0]) == ([], "Succeeded")


def test_an_edit_that_cannot_work_ends_nothing_and_keeps_idle_nodes_for_a_while():
    bad = a_tuning(tuning={"config": "absent"}, annotations=MEMORY)
    at_work = a_job(job_of(a_tuning()), active=1)
    seen = a_world(**NODE, job=at_work, pods=(a_training_pod(),))
    reported, plan = after(bad, seen)
    assert (told(reported)[0], deleted(plan)) == ("Running", [])
    _, plan = after(reported, dataclasses.replace(seen, now=NOW + GRACE))
    assert deleted(plan) == []
    idle = a_world(**NODE)
    reported, plan = after(bad, idle)
    assert (told(reported)[0], deleted(plan)) == ("Failed", [])
    assert plan.look_again == GRACE.total_seconds()
    later = dataclasses.replace(idle, now=NOW + GRACE)
    _, plan = after(reported, later)
    assert (deleted(plan), events(plan)) == ([("NodeClaim", FIRST)], ["NodesGivenBack"])
