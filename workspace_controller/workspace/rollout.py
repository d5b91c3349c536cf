"""Which pod goes when, so that an edit costs as little service as it can. Pure.

A StatefulSet with OnDelete makes every new pod from its newest template and takes none away. So a
pod is replaced by deleting it, and what to do next follows from the pods alone: from the hash
that each carries, from whether it is ready, and from which of them the Service selects. A process
that dies in between leaves nothing behind that the next one would have to know.

One node: a second pod (ordinal 1) comes up from the new template, serves while the first is made
again, and goes. Several nodes: one engine over all pods, so all are replaced together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kube.meta import Condition, find_condition
from kube.objects import Pod
from workspace_controller.manifests.podhash import POD_HASH_ANNOTATION
from workspace_controller.workspace import failures

SURGING, REPLACING, STUCK = "Surging", "Replacing", "Stuck"

_UNSCHEDULABLE = timedelta(seconds=10)
"""How long the second pod may find no room before the first is replaced in its place."""
_ROUTED = timedelta(seconds=5)
"""How long a pod has been ready before another is taken away for it: proxies learn late."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the pods should become. `no_room` is the hash for which a second pod was tried in
    vain; `surge` is false where the user wants no second pod."""

    name: str
    nodes: int
    pod_hash: str
    surge: bool = True
    no_room: str = ""


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of a StatefulSet at one moment, and which of them the Service selects."""

    now: datetime
    pods: Sequence[Pod] = ()
    selected: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """The next step. `outgoing` waits until the template that should follow is stored; `phase` is
    empty where all pods are as they should be; `starting` says that none is of another template,
    so that this may be a rollout's end or no rollout at all."""

    replicas: int
    selected: int = 0
    outgoing: tuple[Pod, ...] = ()
    no_room: str = ""
    phase: str = ""
    message: str = ""
    starting: bool = False
    look_again: float | None = None


def next_move(target: Target, world: Pods) -> Move:
    """What to do now; the same answer for the same world."""
    if target.nodes > 1:
        return _together(target, world)
    return _OneNode(target, world).move()


def is_ready(pod: Pod | None) -> bool:
    """Ready, and nobody is taking it away. Of one that has ended (evicted, say, by a kubelet that
    then fell silent) conditions and containers may still say what they said before."""
    if pod is None or pod.metadata.deletion_timestamp is not None or pod.ended:
        return False
    told = find_condition(pod.status.conditions, "Ready")
    if told is not None:
        return told.status == "True"
    containers = pod.status.container_statuses
    return bool(containers) and all(each.ready for each in containers)


def of_ordinal(pods: Sequence[Pod], name: str, ordinal: int) -> Pod | None:
    return next((pod for pod in pods if pod.metadata.name == f"{name}-{ordinal}"), None)


def _together(target: Target, world: Pods) -> Move:
    members = [of_ordinal(world.pods, target.name, each) for each in range(target.nodes)]
    there = [pod for pod in members if pod is not None]
    outdated = [pod for pod in there if not _has(pod, target.pod_hash)]
    outgoing = tuple(pod for pod in outdated if pod.metadata.deletion_timestamp is None)
    if outdated:
        message = f"all {target.nodes} pods are one engine and are replaced together"
        return Move(target.nodes, outgoing=outgoing, phase=REPLACING, message=message)
    if len(there) == target.nodes and all(map(is_ready, there)):
        return Move(target.nodes)
    return _coming(there, Move(target.nodes, message=f"{target.nodes} pods are started again"))


def _coming(pods: Sequence[Pod], move: Move) -> Move:
    """While pods of the new template start; nothing else can be done for them."""
    failure = failures.classify(pods)
    if failure is None:
        return replace(move, phase=REPLACING, starting=True)
    return replace(move, phase=STUCK, message=failure.message, starting=True)


def _has(pod: Pod | None, pod_hash: str) -> bool:
    return pod is not None and pod.metadata.annotations.get(POD_HASH_ANNOTATION) == pod_hash


class _OneNode:
    """The pods of a Workspace on one node: the first has the name that stays, the second helps."""

    def __init__(self, target: Target, world: Pods) -> None:
        self._target = target
        self._world = world
        self._first = of_ordinal(world.pods, target.name, 0)
        self._second = of_ordinal(world.pods, target.name, 1)
        self._tried = target.no_room == target.pod_hash

    def move(self) -> Move:
        move = self._move()
        if self._tried and not move.no_room:
            return replace(move, no_room=self._target.pod_hash)
        return move

    def _move(self) -> Move:
        if self._is_current(self._first) and is_ready(self._first):
            return self._finish()
        may_serve = self._is_current(self._second) or self._world.selected == 1
        if is_ready(self._second) and may_serve:
            return self._stand_in()
        if self._first is None or _is_going(self._first) or self._is_current(self._first):
            return self._await_first()
        return self._leave_old(self._first)

    def _finish(self) -> Move:
        """The first is as it should be: it serves again, then the second goes."""
        if self._second is None:
            return Move(1)
        message = f"{self._name(0)} serves again; {self._name(1)} goes"
        pause = self._pause(self._first)
        if is_ready(self._second) and (self._world.selected == 1 or pause is not None):
            return Move(2, phase=REPLACING, message=message, look_again=pause)
        return Move(1, phase=REPLACING, message=message)

    def _stand_in(self) -> Move:
        """The second serves while the first is made again."""
        serves = f"{self._name(1)} serves while {self._name(0)} is replaced"
        stay = Move(2, selected=1, phase=REPLACING, message=serves)
        first = self._first
        if first is None or _is_going(first):
            return stay
        if self._is_current(first):
            return self._crowded_out(first, stay)
        if self._world.selected == 0:
            return stay
        pause = self._pause(self._second) if is_ready(first) else None
        if pause is not None:
            return replace(stay, look_again=pause)
        return replace(stay, outgoing=(first,))

    def _crowded_out(self, first: Pod, stay: Move) -> Move:
        """The first may find no room beside the second, which came to the only GPU before it. The
        second stays where it is of the newest template: it would be an outage for a name. It goes
        where it is not, or no edit would ever come up."""
        told = _unschedulable(first)
        if told is None:
            return self._failed(first, stay)
        left = _left(told.last_transition_time, _UNSCHEDULABLE, self._world.now)
        if left is not None:
            return replace(stay, look_again=left)
        if self._is_current(self._second):
            return Move(2, selected=1)
        why = f"there is no room for {self._name(0)} ({told.message}); {self._name(1)} goes for it"
        return Move(1, no_room=self._target.pod_hash, phase=REPLACING, message=why)

    def _await_first(self) -> Move:
        """Nothing serves; the first is on its way. A second that has found a node may be faster."""
        replicas = 2 if self._has_place(self._second) else 1
        there = self._first is not None and not _is_going(self._first)
        starting = [self._first] if there and self._first is not None else []
        return _coming(starting, Move(replicas, message=f"{self._name(0)} is started again"))

    def _leave_old(self, first: Pod) -> Move:
        """The first is of an earlier template. While it serves, it stays as long as possible."""
        if not self._target.surge:
            return self._in_place(first, f"{self._name(0)} is replaced in place, as asked for")
        if (why := self._refusal()) is not None:
            # The edit itself is bad: what served goes on serving until the user edits again.
            kept = f"{self._name(0)} is left as it was: {why}"
            return Move(2, phase=STUCK, message=kept)
        if not is_ready(first):
            return self._in_place(first, f"{self._name(0)} does not serve and is replaced at once")
        if self._tried:
            return self._in_place(
                first, f"there is no room for a second pod; {self._name(0)} is replaced in place"
            )
        return self._surge()

    def _refusal(self) -> str | None:
        """Why the second, which is of the new template, cannot start; not for lack of room."""
        second = self._second
        if second is None or not self._is_current(second) or _unschedulable(second) is not None:
            return None
        failure = failures.classify([second])
        return None if failure is None else failure.message

    def _surge(self) -> Move:
        second = self._second
        message = f"{self._name(1)} comes up; {self._name(0)} serves until it is ready"
        surging = Move(2, phase=SURGING, message=message)
        if second is None or _is_going(second):
            return surging
        if not self._is_current(second):
            return replace(surging, outgoing=(second,))
        told = _unschedulable(second)
        if told is None:
            return surging
        left = _left(told.last_transition_time, _UNSCHEDULABLE, self._world.now)
        if left is not None:
            return replace(surging, look_again=left)
        why = f"there is no room for {self._name(1)} ({told.message}); {self._name(0)} is replaced"
        return Move(1, no_room=self._target.pod_hash, phase=REPLACING, message=f"{why} in place")

    def _in_place(self, first: Pod, message: str) -> Move:
        """A second that has no node yet goes before: it would take the place that becomes free."""
        in_place = Move(1, phase=REPLACING, message=message)
        if self._second is None:
            return replace(in_place, outgoing=(first,))
        if is_ready(first) or not self._has_place(self._second):
            return in_place
        return replace(in_place, replicas=2, outgoing=(first,))

    def _failed(self, first: Pod, otherwise: Move) -> Move:
        failure = failures.classify([first])
        if failure is None:
            return otherwise
        message = f"{self._name(1)} goes on serving: {failure.message}"
        return replace(otherwise, phase=STUCK, message=message)

    def _pause(self, pod: Pod | None) -> float | None:
        """Seconds until all who route to the pod have learnt that it is ready; None by then."""
        told = None if pod is None else find_condition(pod.status.conditions, "Ready")
        since = None if told is None else told.last_transition_time
        return _left(since, _ROUTED, self._world.now)

    def _is_current(self, pod: Pod | None) -> bool:
        return not _is_going(pod) and _has(pod, self._target.pod_hash)

    def _has_place(self, pod: Pod | None) -> bool:
        return pod is not None and self._is_current(pod) and bool(pod.spec.node_name)

    def _name(self, ordinal: int) -> str:
        return f"{self._target.name}-{ordinal}"


def _is_going(pod: Pod | None) -> bool:
    return pod is not None and pod.metadata.deletion_timestamp is not None


def _unschedulable(pod: Pod) -> Condition | None:
    told = find_condition(pod.status.conditions, "PodScheduled")
    refused = told is not None and told.status == "False" and told.reason == "Unschedulable"
    return told if refused else None


def _left(since: datetime | None, span: timedelta, now: datetime) -> float | None:
    """Seconds until `span` has gone by; None where it has, or where nobody said since when."""
    if since is None or now - since >= span:
        return None
    return (span - (now - since)).total_seconds()
