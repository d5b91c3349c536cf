"""Whether a RAGEngine answers, by its pods. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kube.meta import Condition
from kube.objects import Pod, Unstructured
from workspace_controller import messages
from workspace_controller.ragengine import conditions as c
from workspace_controller.ragengine.observed import Observed
from workspace_controller.workspace import failures
from workspace_controller.workspace.failures import Failure
from workspace_controller.workspace.rollout import is_ready


def service_ready(seen: Observed, gap: str = "") -> Condition:
    """ServiceReady: a pod answers, be it of an earlier spec. A Deployment's counts are hearsay:
    they outlive a pod by as long as its controller sleeps."""
    late = _late(seen.pods)
    failure = failures.classify(late) or _not_made(seen.deployment)
    if any(map(is_ready, seen.pods)):
        message = "RAG engine service answers"
        if failure is not None:
            message += f"; the change does not come up: {failure.reason}: {failure.message}"
        elif late or _is_rolling(seen.deployment):
            message += "; a change is rolled out"
        return _ready("True", c.REASON_SERVICE_SUCCESS, message)
    if failure is not None:
        return _ready("False", failure.reason, failure.message)
    replaced = any(pod.metadata.deletion_timestamp for pod in seen.pods)
    why = f"; it is replaced in place, since {gap}" if gap and replaced else ""
    return _ready("False", c.REASON_SERVICE_PENDING, f"{_on_its_way(late)}{why}")


def _ready(status: str, reason: str, message: str) -> Condition:
    return Condition(
        type=c.SERVICE_READY,
        status="True" if status == "True" else "False",
        reason=reason,
        message=message,
    )


def _late(pods: Sequence[Pod]) -> list[Pod]:
    """Those that may come up still; where there is none at all, those whose end is a complaint. Of
    a Deployment these stay long after others took their place (an evicted one, say)."""
    alive = [pod for pod in pods if not pod.ended]
    counted = alive or [pod for pod in pods if pod.status.phase == "Failed"]
    staying = (pod for pod in counted if pod.metadata.deletion_timestamp is None)
    return [pod for pod in staying if not is_ready(pod)]


def _not_made(deployment: Unstructured | None) -> Failure | None:
    """What keeps a pod from being made at all: a quota, or the namespace's Pod Security. Nobody
    but the Deployment knows."""
    told = deployment.status.get("conditions") or () if deployment else ()
    for each in told:
        if each.get("type") == "ReplicaFailure" and each.get("status") == "True":
            message = messages.cut(each.get("message", ""))
            return Failure(c.REASON_POD_NOT_MADE, message)
    return None


def _is_rolling(deployment: Unstructured | None) -> bool:
    """Whether its pods are not all of the newest template, as far as is known."""
    if deployment is None:
        return False
    status = deployment.status
    return bool(
        int(status.get("observedGeneration", 0)) < deployment.metadata.generation
        or status.get("updatedReplicas", 0) < deployment.spec.get("replicas", 1)
    )


def _on_its_way(late: list[Pod]) -> str:
    if not late:
        return "waiting for the pod to be made"
    pod = min(late, key=lambda each: each.metadata.name)
    name = pod.metadata.name
    if not pod.spec.node_name:
        return f"pod {name} has no node yet"
    for each in pod.status.container_statuses:
        waiting = each.state.waiting
        if waiting is not None:
            said = waiting.message or waiting.reason
            return f"pod {name}: container {each.name}: {said}"
    return f"pod {name} fetches its model, or restores its indexes"
