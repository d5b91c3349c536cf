"""Which container of a pod has something to say, and which of its reports are worth a round. Pure.

A round that finds something new writes the Workspace; so a download is told of in steps, and what
a round sees (`Observed.reports`) is what was last worth telling.
"""

from __future__ import annotations

from apis import reports
from apis.reports import Reports, Stage, Training
from kube.meta import find_condition
from kube.objects import ContainerStatus, Pod
from workspace_controller.workspace import stages

STEP = 0.05
"""Of the whole, or of a training's steps."""
STEP_SECONDS = 30.0
_EXACT = 1e-9

_DOING = {
    reports.DOWNLOAD: "is downloading",
    reports.LOAD: "is loading the weights",
    reports.COMPILE: "is compiling the model",
    reports.WARM: "is warming up",
    reports.READY: "is ready, and waits for its probe",
}


def speaking(pod: Pod) -> str:
    """The container whose log tells how far the pod is: one that prepares, then the one that
    serves until it does, or that tunes. Empty where there is none."""
    if pod.metadata.deletion_timestamp is not None:
        return ""
    for container in pod.status.init_container_statuses:
        if _runs(container):
            return container.name
    if _is_ready(pod) and not of_job(pod):
        return ""
    return next((each.name for each in pod.status.container_statuses if _runs(each)), "")


def of_job(pod: Pod) -> bool:
    """A Job's pod is ready as soon as it runs, and has news until its end."""
    return any(each.kind == "Job" for each in pod.metadata.owner_references)


def newest(known: Reports, found: Reports) -> Reports:
    """What is found, and what was known of a kind that has left the tail of the log since."""
    return Reports(
        stage=found.stage or known.stage,
        training=found.training or known.training,
        result=found.result or known.result,
    )


def worth_telling(told: Reports, found: Reports, seconds: float) -> bool:
    """Whether `found` is worth a round, `seconds` after `told` was."""
    if found == told:
        return False
    if found.result != told.result or _kind(found) != _kind(told):
        return True
    return seconds >= STEP_SECONDS or abs(_share(found) - _share(told)) >= STEP - _EXACT


def words(stage: Stage | None) -> str:
    """What follows on the container's name; empty where it has said nothing."""
    if stage is None:
        return ""
    if stage.stage == reports.DOWNLOAD and stage.total:
        left = "" if stage.eta_seconds is None else f", {stages.spelled(stage.eta_seconds)} left"
        return f"is downloading {stage.done or 0:.1f} of {stage.total:.1f} {stage.unit}{left}"
    return _DOING.get(stage.stage, stage.message)


def _kind(said: Reports) -> tuple[object, ...]:
    """What differs between two things to say, not between how far they are."""
    stage, training = said.stage, said.training
    return (
        stage.stage if stage else None,
        training is None,
        training.eval_loss_before if training else None,
        training.eval_loss if training else None,
        training.checkpoint_step if training else None,
    )


def _share(said: Reports) -> float:
    if said.training is not None:
        return _of_steps(said.training)
    return _of_total(said.stage) if said.stage is not None else 0.0


def _of_steps(training: Training) -> float:
    return training.step / training.steps if training.steps else 0.0


def _of_total(stage: Stage) -> float:
    return (stage.done or 0.0) / stage.total if stage.total else 0.0


def _runs(container: ContainerStatus) -> bool:
    return container.state.running is not None


def _is_ready(pod: Pod) -> bool:
    condition = find_condition(pod.status.conditions, "Ready")
    return condition is not None and condition.status == "True"
