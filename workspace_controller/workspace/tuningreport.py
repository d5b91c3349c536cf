"""How far a training is, and what came of it, in the words of its own pods. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from apis import reports
from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.status import TuningStatus
from apis.kaito.v1beta1.workspace import Workspace
from apis.reports import Result, Training
from kube.objects import Pod
from workspace_controller.workspace import stages, tuningrun
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.tuningrun import Run


def status(workspace: Workspace, seen: Observed, run: Run) -> TuningStatus:
    """What was known, with what the newest pod says now. What is known of the run outlives its
    pods, whose logs go with their node; it does not outlive the run."""
    before = workspace.status.tuning or TuningStatus()
    if not run.is_current:
        known = run.succeeded and workspace.condition(c.WORKSPACE_SUCCEEDED).status == "True"
        return before if known else TuningStatus()
    pods = tuningrun.pods(run, seen)
    counted = run.count("active") + run.count("succeeded") + run.count("failed")
    after = before.model_copy(update={"attempts": max(before.attempts, counted, len(pods))})
    told = (seen.reports.get(pod.metadata.uid) for pod in pods)
    training = next((each.training for each in told if each and each.training), None)
    if training is not None:
        after = after.model_copy(update=_of_training(training))
    result = result_of(pods, seen)
    return after if result is None else after.model_copy(update=_of_result(result, after))


def result_of(pods: Iterable[Pod], seen: Observed) -> Result | None:
    """From the termination message, which the kubelet keeps; else from the log."""
    for pod in pods:
        for each in pod.status.container_statuses:
            ended = each.state.terminated
            if ended is not None and not ended.exit_code:
                found = reports.read(ended.message.splitlines()).result
                if found is not None:
                    return found
        logged = seen.reports.get(pod.metadata.uid)
        if logged is not None and logged.result is not None:
            return logged.result
    return None


def line(told: TuningStatus) -> str:
    """`step 120 of 400, loss 1.234, 3m left`; empty before the first step is known."""
    if not told.steps:
        return ""
    parts = [f"step {told.step} of {told.steps}"]
    if told.loss:
        parts.append(f"loss {told.loss}")
    if told.eta:
        parts.append(f"{told.eta} left")
    return ", ".join(parts)


def outcome(told: TuningStatus) -> str:
    """`tuned in 400 steps; held-out loss 2.310 → 1.020; the result is <where>`."""
    parts = [f"tuned in {told.steps} steps" if told.steps else "tuned"]
    if told.eval_loss and told.eval_loss_before:
        parts.append(f"held-out loss {told.eval_loss_before} → {told.eval_loss}")
    if told.output:
        parts.append(f"the result is {told.output}")
    return "; ".join(parts)


def _of_training(training: Training) -> dict[str, object]:
    found = {
        "step": training.step,
        "steps": training.steps,
        "loss": _nats(training.loss),
        "eval_loss_before": _nats(training.eval_loss_before),
        "eval_loss": _nats(training.eval_loss),
        "tokens_per_second": _rate(training.tokens_per_second),
        "checkpoint_step": training.checkpoint_step,
    }
    known = {key: value for key, value in found.items() if value != ""}
    eta = training.eta_seconds
    return {**known, "eta": "" if eta is None else stages.spelled(eta)}


def _of_result(result: Result, known: TuningStatus) -> dict[str, object]:
    return {
        "step": result.steps,
        "steps": result.steps,
        "loss": _nats(result.loss) or known.loss,
        "eval_loss_before": _nats(result.eval_loss_before) or known.eval_loss_before,
        "eval_loss": _nats(result.eval_loss) or known.eval_loss,
        "eta": "",
        "output": result.output,
    }


def _nats(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.3f}"


def _rate(tokens: float | None) -> str:
    return "" if tokens is None else f"{tokens:.0f}"
