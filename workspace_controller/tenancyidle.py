"""Since when nodes wait for pods that nobody admits. Pure.

The age of a claim says nothing of it: a node that has served for days has no pod for a moment each
time that one is made anew, and a ResourceQuota still counts the one before it then. What runs is
told in the status, where a restart finds it too; dates of conditions move with their status alone,
so their reasons, and the stage's own date, tell when the pods went missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import find_condition
from workspace_controller.nodes.asking import NodeOwner
from workspace_controller.ragengine import conditions as rag_conditions
from workspace_controller.workspace import stages

_QUOTA = c.REASON_RESOURCE_QUOTA_EXCEEDED


def idle_since(owner: NodeOwner, now: datetime) -> datetime:
    """When it stopped running, as far as its status tells; `now` where it ran a moment ago, or
    where nobody has told yet that a quota refuses its pods."""
    if not isinstance(owner, Workspace | RAGEngine):
        return now
    ready = find_condition(owner.status.conditions, _ready(owner))
    nodes = find_condition(owner.status.conditions, c.RESOURCE_READY)
    if ready is None or ready.status == "True":
        return now
    if nodes is not None and nodes.status == "True" and ready.reason != _QUOTA:
        return now  # with its nodes there, something else was the matter: with a pod, then
    away = [each for each in (ready, nodes) if each is not None and each.status != "True"]
    told = [each.last_transition_time or now for each in away]
    return max((*told, *_of_stage(owner)))


def _ready(owner: Workspace | RAGEngine) -> str:
    if isinstance(owner, RAGEngine):
        return rag_conditions.SERVICE_READY
    return c.INFERENCE_READY if owner.tuning is None else c.JOB_STARTED


def _of_stage(owner: Workspace | RAGEngine) -> Iterator[datetime]:
    """When the wait for the quota began, where something else was waited for before."""
    if isinstance(owner, RAGEngine):
        failing = find_condition(owner.status.conditions, rag_conditions.RAGENGINE_SERVICE_READY)
        if failing is not None and failing.last_transition_time is not None:
            yield failing.last_transition_time
        return
    now = owner.status.progress
    if now is not None and (now.stage, now.reason) == (stages.QUOTA, _QUOTA):
        yield datetime.fromisoformat(now.since)
