"""Which pods must leave a node, in what order, and which may be made to. Pure.

Four groups leave one after the other, so that what others depend on goes last. Past the node's
deadline nobody is asked any more, whatever his group.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from apis.karpenter.v1 import labels
from gpu_provisioner import duration
from kube.objects import Pod, Taint, Toleration

STUCK = timedelta(minutes=1)
"""A pod that should have ended so long ago will not: its node is probably dead."""

DEFAULT_GRACE_SECONDS = 30
CRITICAL_PRIORITY_CLASSES = frozenset({"system-cluster-critical", "system-node-critical"})
DISRUPTED = Taint(key=labels.DISRUPTED_TAINT, effect="NoSchedule")


@dataclass(frozen=True, slots=True)
class Forced:
    """A pod to delete without asking, with as many seconds as there are left."""

    pod: Pod
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class Drain:
    """What is to be done now. The node is drained when nobody is `waited_for`."""

    evict: tuple[Pod, ...] = ()
    force: tuple[Forced, ...] = ()
    waited_for: tuple[Pod, ...] = ()
    protected: tuple[Pod, ...] = ()
    """Of those, the ones that asked not to be disrupted, and whose turn it would be."""
    next_force: datetime | None = None
    """When the first pod that may still be asked will have to be made to."""


def plan(pods: Iterable[Pod], now: datetime, deadline: datetime | None) -> Drain:
    """From all pods of the node; `deadline` is when the node must be empty, if ever."""
    waited_for = tuple(pod for pod in pods if drainable(pod, now))
    force, next_force = _forced(waited_for, now, deadline)
    forced = {each.pod.metadata.uid for each in force}
    first = min((_tier(pod) for pod in waited_for), default=None)
    turn = [
        pod
        for pod in waited_for
        if _tier(pod) == first
        and pod.metadata.deletion_timestamp is None
        and pod.metadata.uid not in forced
    ]
    return Drain(
        evict=tuple(pod for pod in turn if not protected(pod, now)),
        force=force,
        waited_for=waited_for,
        protected=tuple(pod for pod in turn if protected(pod, now)),
        next_force=next_force,
    )


def _forced(
    pods: Iterable[Pod], now: datetime, deadline: datetime | None
) -> tuple[tuple[Forced, ...], datetime | None]:
    """Those that would otherwise outlast the deadline, and when the next one will."""
    if deadline is None:
        return (), None
    left = max(int((deadline - now).total_seconds()), 1)
    due = [(pod, _force_at(pod, deadline)) for pod in pods]
    return (
        tuple(Forced(pod, left) for pod, at in due if at is not None and at < now),
        min((at for _, at in due if at is not None and at >= now), default=None),
    )


def drainable(pod: Pod, now: datetime) -> bool:
    """Whether the node waits for the pod to leave."""
    return not (tolerates_disruption(pod) or _static(pod) or terminal(pod) or _stuck(pod, now))


def tolerates_disruption(pod: Pod) -> bool:
    return any(_tolerates(toleration, DISRUPTED) for toleration in pod.spec.tolerations)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def _static(pod: Pod) -> bool:
    """Owned by its Node: the kubelet's own, which it would start again."""
    return any(owner.kind == "Node" for owner in pod.metadata.owner_references)


def terminal(pod: Pod) -> bool:
    return pod.status.phase in {"Succeeded", "Failed"}


def _stuck(pod: Pod, now: datetime) -> bool:
    ends = pod.metadata.deletion_timestamp
    return ends is not None and now > ends + STUCK


def _tier(pod: Pod) -> int:
    daemon = any(owner.kind == "DaemonSet" for owner in pod.metadata.owner_references)
    critical = pod.spec.priority_class_name in CRITICAL_PRIORITY_CLASSES
    return 2 * critical + daemon


def _force_at(pod: Pod, deadline: datetime) -> datetime | None:
    """When its own grace would no longer end in time; None where it is ending in time anyway.
    A pod that is ending too late is due at once."""
    ends = pod.metadata.deletion_timestamp
    if ends is not None:
        return datetime.min.replace(tzinfo=deadline.tzinfo) if ends > deadline else None
    grace = pod.spec.termination_grace_period_seconds
    return deadline - timedelta(seconds=DEFAULT_GRACE_SECONDS if grace is None else grace)


def protected(pod: Pod, now: datetime) -> bool:
    """do-not-disrupt: `true` for ever, a duration from the pod's start; anything else is void."""
    wish = pod.metadata.annotations.get(labels.DO_NOT_DISRUPT_ANNOTATION, "")
    if wish == "true":
        return True
    lasting = duration.parse(wish)
    started = pod.status.start_time or pod.metadata.creation_timestamp
    return lasting is not None and started is not None and now < started + lasting
