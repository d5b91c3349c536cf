"""Steps: fine-tuning. Before the nodes: what has become of the Job, and once it is over the nodes
go back. After them: the Job, one at a time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kube.meta import Condition, Manifest, Status
from kube.objects import JOBS, Pod, Unstructured
from workspace_controller import tenancy
from workspace_controller.errors import UserError
from workspace_controller.manifests.tuning import tuning_job
from workspace_controller.plan import Deletion, Event, Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import (
    failures,
    podreports,
    podsneeded,
    revision,
    tuningfailures,
    tuningreport,
    tuningrun,
    tuningsize,
)
from workspace_controller.workspace.failures import Failure
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.tuningrun import TUNED_ANNOTATION, Run

GRACE = timedelta(minutes=15)
"""How long nodes of a tuning that has failed are kept, so that an edit finds them."""


def training(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """JobStarted by the Job that is there. Where it is over, the plan ends here, and the nodes
    are given back: at once after success, else once nobody has edited for a while."""
    run = tuningrun.of(workspace, seen)
    if run.succeeded:
        return _succeeded(workspace, seen, settings, run)
    if (failure := run.failure) is not None:
        return _failed(workspace, seen, settings, run, failure)
    if run.foreign:
        return _of_another(run)
    told = Plan(status={"tuning": tuningreport.status(workspace, seen, run)})
    if not run.at_work:
        return told
    started = _started(workspace, seen, run)
    failed = all(pod.status.phase == "Failed" for pod in tuningrun.pods(run, seen))
    if started.reason == c.REASON_JOB_PENDING or failed:
        short = tenancy.short_of(seen, lambda: podsneeded.wanted(workspace, seen, settings))
        if short is not None:
            why = c.REASON_RESOURCE_QUOTA_EXCEEDED
            started = _condition(c.JOB_STARTED, "False", why, short.message)
    return told + Plan(conditions=(started,))


def tuning(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """The Job for this run. One for an earlier run goes first, with its pods; a Job cannot be
    changed, and two at once would write to one place."""
    run, work = tuningrun.of(workspace, seen), workspace.tuning
    tuned = tuningsize.size(workspace, seen, settings)
    if work is None or tuned is None:
        return Plan()
    number = revision.number(workspace, seen.revisions)
    wanted = tuning_job(workspace, work, tuned, settings, run=run.wanted, number=number)
    if run.job is None:
        if left := sorted(pod.metadata.name for pod in seen.pods if _trains(pod)):
            # Whoever deletes a Job does not wait for its pods, which still write.
            return _pending(f"pods of an earlier Job end: {', '.join(left)}")
        return Plan(create=(wanted,)) + _pending("the Job is made")
    if run.is_going:
        return _pending("the Job ends, and another follows")
    if run.is_current and not _is_misplaced(run, run.job, wanted, seen):
        return Plan()
    why = f"revision {number}: the Job is made anew"
    if run.ended("Complete") is not None:
        why += ", although it has succeeded: what it is to do has changed"
    gone = Deletion.of(JOBS, run.job, "Foreground")
    told = Event("Normal", "TuningRestarted", why)
    return Plan(delete=(gone,), events=(told,)) + _pending("the Job of an earlier revision ends")


def idle(workspace: Workspace, seen: Observed, settings: Settings, error: UserError) -> Plan:
    """Beside an edit that cannot work: nodes that nothing runs on are kept for a while, too."""
    run = tuningrun.of(workspace, seen)
    if run.at_work or _keeps(workspace):
        return Plan()
    said = workspace.condition(error.condition)
    since = said.last_transition_time if said.status == "False" else None
    left = GRACE - (seen.now - (since or seen.now))
    if left > timedelta(0):
        return Plan(look_again=left.total_seconds())
    given_back = settings.nodes.release(workspace, seen)
    return given_back + Plan(events=_told_of(given_back, "nothing can run on them as it stands"))


def _succeeded(workspace: Workspace, seen: Observed, settings: Settings, run: Run) -> Plan:
    told = tuningreport.status(workspace, seen, run)
    words = tuningreport.outcome(told)
    done = Plan(
        annotations={} if run.recorded else {TUNED_ANNOTATION: run.wanted},
        conditions=(
            _condition(c.JOB_STARTED, "True", c.REASON_JOB_STARTED, "the Job has succeeded"),
            _condition(c.WORKSPACE_SUCCEEDED, "True", c.REASON_SUCCEEDED, words),
        ),
        status={"tuning": told},
        waits_for=c.REASON_SUCCEEDED,
    )
    if workspace.condition(c.WORKSPACE_SUCCEEDED).status != "True":
        done += Plan(events=(Event("Normal", "TuningSucceeded", words),))
        # Stored before the node goes, and with it the pod that said it; that brings us back.
        left = GRACE - (seen.now - (run.ended_at() or seen.now))
        if left > timedelta(0):
            return done + Plan(look_again=left.total_seconds())
    if any(not pod.ended for pod in tuningrun.pods(run, seen)):
        return done  # its last words are on their way, and go with the node
    return done + _nodes(workspace, seen, settings, "the tuning has succeeded")


def _failed(
    workspace: Workspace, seen: Observed, settings: Settings, run: Run, given_up: Condition
) -> Plan:
    told = tuningreport.status(workspace, seen, run)
    why = tuningfailures.of_job(given_up, tuningrun.pods(run, seen), told.attempts)
    done = Plan(
        conditions=(
            _condition(c.JOB_STARTED, "False", why.reason, why.message),
            _condition(c.WORKSPACE_SUCCEEDED, "False", c.REASON_FAILED, why.message),
        ),
        status={"tuning": told.model_copy(update={"eta": ""})},
        waits_for=why.reason,
    )
    if workspace.condition(c.WORKSPACE_SUCCEEDED).reason != c.REASON_FAILED:
        done += Plan(events=(Event("Warning", "TuningFailed", f"{why.reason}: {why.message}"),))
    left = GRACE - (seen.now - (run.ended_at() or seen.now))
    if left <= timedelta(0):
        return done + _nodes(workspace, seen, settings, "the tuning has failed")
    if not _keeps(workspace) and settings.nodes.holdings(workspace):
        message = (
            f"kept for {GRACE.seconds // 60} minutes after the failure, so that an edit finds it"
        )
        kept = _condition(c.RESOURCE_READY, "True", c.REASON_RESOURCE_SUCCESS, message)
        done += Plan(conditions=(kept,), look_again=left.total_seconds())
    return done


def _nodes(workspace: Workspace, seen: Observed, settings: Settings, why: str) -> Plan:
    """Given back, unless they are the user's own, or the user keeps them."""
    if _keeps(workspace):
        kept = f"{why}; nodes are kept (annotation {labels.KEEP_NODES_ANNOTATION})"
        return _resources(c.REASON_RESOURCE_SUCCESS, kept)
    if not settings.nodes.holdings(workspace):
        return _resources(c.REASON_RESOURCE_SUCCESS, f"{why}; the nodes are the user's own")
    given_back = settings.nodes.release(workspace, seen)
    going = sorted(each.metadata.name for each in seen.claims)
    rest = f"; waiting for NodeClaims to end: {', '.join(going)}" if going else ""
    said = _resources(c.REASON_NODES_GIVEN_BACK, f"{why}, and its nodes were given back{rest}")
    told = Plan(worker_nodes=(), events=_told_of(given_back, why))
    return given_back + said + told


def _told_of(given_back: Plan, why: str) -> tuple[Event, ...]:
    names = ", ".join(f"{each.resource.kind} {each.name}" for each in given_back.delete)
    return (Event("Normal", "NodesGivenBack", f"{why}: {names}"),) if names else ()


def _resources(reason: str, message: str) -> Plan:
    return Plan(conditions=(_condition(c.RESOURCE_READY, "True", reason, message),))


def _keeps(workspace: Workspace) -> bool:
    asked = workspace.metadata.annotations.get(labels.KEEP_NODES_ANNOTATION, "")
    return asked.lower() == "true"


def _started(workspace: Workspace, seen: Observed, run: Run) -> Condition:
    """True from the first container on, and through retries; not while a pod cannot start, nor
    (`training`) while a quota refuses the next one."""
    pods = tuningrun.pods(run, seen)
    newest, earlier = (pods[0], pods[1:]) if pods else (None, ())
    stuck = _stuck(newest)
    if stuck is not None:
        return _condition(c.JOB_STARTED, "False", stuck.reason, stuck.message)
    lost = _lost(pods)
    if newest is None or not (earlier or _has_begun(newest)):
        return _condition(c.JOB_STARTED, "False", c.REASON_JOB_PENDING, "the pod is on its way")
    return _condition(c.JOB_STARTED, "True", c.REASON_JOB_STARTED, f"the Job runs{lost}")


def _stuck(newest: Pod | None) -> Failure | None:
    """What the kubelet or the scheduler complains of, before anything has run."""
    if newest is None or newest.ended:
        return None
    found = failures.classify([newest])
    return None if found is None or found.reason == c.REASON_CONTAINER_OOM_KILLED else found


def _lost(pods: Sequence[Pod]) -> str:
    """Why there is, or will be, another pod than the first; no reason to worry."""
    for pod in pods:
        if said := tuningfailures.interruption(pod):
            return f"; {said}; another goes on from the last checkpoint"
        failure = tuningfailures.of_pod(pod)
        if failure is not None:
            return f"; pod {pod.metadata.name} failed and is tried again: {failure.message}"
    return ""


def _has_begun(pod: Pod) -> bool:
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return pod.ended or any(
        each.state.running is not None or each.state.terminated is not None for each in statuses
    )


def _trains(pod: Pod) -> bool:
    return not pod.ended and podreports.of_job(pod)


def _is_misplaced(run: Run, job: Unstructured, wanted: Manifest, seen: Observed) -> bool:
    """Whether its next pod would look for other nodes than these. One that is on its node stays:
    what it has done since its last checkpoint would be lost."""
    if any(pod.spec.node_name and not pod.ended for pod in tuningrun.pods(run, seen)):
        return False
    return _place(job.spec) != _place(wanted["spec"])


def _of_another(run: Run) -> Plan:
    """The name is taken; said before a node is paid for."""
    owners = run.job.metadata.owner_references if run.job else ()
    name = run.job.metadata.name if run.job else ""
    if any(owner.kind == WORKSPACES.kind for owner in owners):
        return _pending(f"Job {name} of an earlier Workspace ends")
    message = f"Job {name} is not this Workspace's; delete it, or rename the Workspace"
    raise UserError(c.JOB_STARTED, "JobNameTaken", message)


def _place(spec: Manifest) -> Manifest:
    """On which nodes its pods may run."""
    return dict(spec["template"]["spec"].get("affinity") or {})


def _pending(message: str) -> Plan:
    told = _condition(c.JOB_STARTED, "False", c.REASON_JOB_PENDING, message)
    return Plan(conditions=(told,), waits_for=c.REASON_JOB_PENDING)


def _condition(kind: str, status: Status, reason: str, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message)
