"""The chain from a Workspace down to its claims, nodes and pods, as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Condition, ObjectMeta
from kube.objects import ContainerStatus, Node, Pod, Unstructured

_STEPS = ("Launched", "Registered", "Initialized")
_EVENTS_SHOWN = 3
_RESOURCES = ("nvidia.com/", "cpu", "memory")


class Event(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The part of core/v1 Event that is printed."""

    metadata: ObjectMeta = ObjectMeta()
    involved_object: dict[str, Any] = {}
    type: str = ""
    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None
    event_time: datetime | None = None

    @property
    def at(self) -> datetime | None:
        return self.last_timestamp or self.event_time or self.metadata.creation_timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the cluster has of a Workspace, as of `now`."""

    now: datetime
    workspace: Workspace
    pools: Sequence[Unstructured] = ()
    claims: Sequence[NodeClaim] = ()
    nodes: Mapping[str, Node] | None = None
    stateful_set: Unstructured | None = None
    job: Unstructured | None = None
    pods: Sequence[Pod] = ()
    events: Sequence[Event] = ()


def lines(seen: Seen) -> Iterator[str]:
    """The Workspace's own word first, then what stands behind it, the nearest first."""
    workspace = seen.workspace
    yield from _headline(workspace, seen.now)
    for condition in workspace.status.conditions:
        yield f"  {_condition(condition, seen.now)}"
    yield from _start(workspace)
    yield from _events(seen, workspace.metadata, "  ")
    for edit in workspace.status.foreign_edits:
        fields = ", ".join(edit.fields)
        yield f"  edited by {edit.manager}: {edit.object}: {fields} (left as it is)"
    for pool in seen.pools:
        yield f"NodePool {pool.metadata.name}: {pool.spec.get('replicas', '?')} nodes asked for"
        yield from _events(seen, pool.metadata, "  ")
    for claim in sorted(seen.claims, key=lambda each: each.metadata.name):
        yield from _claim(claim, seen)
    known = {claim.status.node_name for claim in seen.claims}
    for name in workspace.status.worker_nodes:
        if name not in known:
            yield from _node(name, seen, "")
    for kind, found in (("StatefulSet", seen.stateful_set), ("Job", seen.job)):
        if found is not None:
            yield from _workload(kind, found, seen)
    for pod in sorted(seen.pods, key=lambda each: each.metadata.name):
        yield from _pod(pod, seen)


def age(then: datetime | None, now: datetime) -> str:
    """How long ago, as kubectl has it; `?` where nobody wrote it down."""
    if then is None:
        return "?"
    seconds = max(0, int((now - then).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _headline(workspace: Workspace, now: datetime) -> Iterator[str]:
    meta, told = workspace.metadata, workspace.status.progress
    name = f"Workspace {meta.namespace}/{meta.name}"
    if meta.deletion_timestamp is not None:
        yield f"{name}: being deleted for {age(meta.deletion_timestamp, now)}"
        return
    if told is None:
        yield f"{name}: no controller has looked at it yet"
        yield "  next: see that workspace-controller runs: kubectl get pods -A | grep workspace"
        return
    since = datetime.fromisoformat(told.since) if told.since else None
    usual = f", usually {told.usual}" if told.usual else ""
    yield f"{name}: {told.stage} for {age(since, now)}{usual}"
    yield f"  why:  {': '.join(filter(None, (told.reason, told.message))) or '-'}"
    if told.next_step:
        yield f"  next: {told.next_step}"


def _start(workspace: Workspace) -> Iterator[str]:
    if (start := workspace.status.cold_start) is not None:
        parts = ", ".join(f"{stage} {seconds} s" for stage, seconds in start.stages.items())
        yield f"  newest start: {start.seconds} s ({parts})"


def _condition(condition: Condition, now: datetime, healthy: str = "True") -> str:
    since = age(condition.last_transition_time, now)
    said = f": {condition.message}" if condition.message and condition.status != healthy else ""
    return f"{condition.type}={condition.status} ({condition.reason or '-'}, {since}){said}"


def _claim(claim: NodeClaim, seen: Seen) -> Iterator[str]:
    meta = claim.metadata
    state = "being deleted, " if meta.deletion_timestamp is not None else ""
    yield f"NodeClaim {meta.name}: {state}{age(meta.creation_timestamp, seen.now)} old"
    for kind in _STEPS:
        yield f"  {_condition(claim.condition(kind), seen.now)}"
    yield from _events(seen, meta, "  ")
    if claim.status.node_name:
        yield from _node(claim.status.node_name, seen, "  ")


def _node(name: str, seen: Seen, indent: str) -> Iterator[str]:
    node = (seen.nodes or {}).get(name)
    if node is None:
        yield f"{indent}Node {name}: not there"
        return
    amounts = ", ".join(
        f"{key} {value}"
        for key, value in sorted(node.status.allocatable.items())
        if key.startswith(_RESOURCES)
    )
    state = "Ready" if node.ready else "not ready"
    yield f"{indent}Node {name}: {state}, {age(node.metadata.creation_timestamp, seen.now)} old"
    yield f"{indent}  allocatable: {amounts or 'nothing yet'}"
    if node.spec.taints:
        yield f"{indent}  taints: {', '.join(map(str, node.spec.taints))}"
    for condition in node.status.conditions:
        healthy = "True" if condition.type == "Ready" else "False"
        if condition.status != healthy:
            yield f"{indent}  {_condition(condition, seen.now, healthy)}"
    yield from _events(seen, node.metadata, f"{indent}  ", kind="Node")


def _workload(kind: str, found: Unstructured, seen: Seen) -> Iterator[str]:
    status = found.status
    if kind == "Job":
        counts = ", ".join(
            f"{status.get(key, 0)} {key}" for key in ("active", "succeeded", "failed")
        )
        yield f"Job {found.metadata.name}: {counts}"
    else:
        ready, wanted = status.get("readyReplicas", 0), found.spec.get("replicas", 1)
        yield f"StatefulSet {found.metadata.name}: {ready} of {wanted} ready"
    yield from _events(seen, found.metadata, "  ")


def _pod(pod: Pod, seen: Seen) -> Iterator[str]:
    where = f"on {pod.spec.node_name}" if pod.spec.node_name else "on no node"
    old = age(pod.metadata.creation_timestamp, seen.now)
    yield f"Pod {pod.metadata.name}: {pod.status.phase or 'unknown'} {where}, {old} old"
    if not pod.spec.node_name:
        for condition in pod.status.conditions:
            if condition.status != "True":
                yield f"  {_condition(condition, seen.now)}"
    for prefix, statuses in (
        ("init container", pod.status.init_container_statuses),
        ("container", pod.status.container_statuses),
    ):
        for status in statuses:
            yield f"  {prefix} {status.name}: {_container(status)}"
    yield from _events(seen, pod.metadata, "  ")


def _container(status: ContainerStatus) -> str:
    state = status.state
    if state.waiting is not None:
        said = f": {state.waiting.message}" if state.waiting.message else ""
        text = f"waiting, {state.waiting.reason or 'no reason given'}{said}"
    elif state.terminated is not None:
        text = f"ended, {state.terminated.reason or '-'} (exit code {state.terminated.exit_code})"
    elif state.running is not None:
        text = "running, ready" if status.ready else "running, not ready"
    else:
        text = "not started"
    ended = status.last_state.terminated
    if ended is not None:
        text += f"; before that {ended.reason or 'ended'} (exit code {ended.exit_code})"
    return text + (f"; {status.restart_count} restarts" if status.restart_count else "")


def _events(seen: Seen, metadata: ObjectMeta, indent: str, *, kind: str = "") -> Iterator[str]:
    """The last warnings and, where there are none, the last word. Nodes' events name no uid."""
    found = [
        event
        for event in seen.events
        if event.involved_object.get("uid") == metadata.uid
        or (
            kind
            and event.involved_object.get("kind") == kind
            and event.involved_object.get("name") == metadata.name
        )
    ]
    found.sort(key=lambda event: event.at or seen.now)
    warnings = [event for event in found if event.type == "Warning"]
    for event in _latest(warnings or found[-1:]):
        yield f"{indent}event {age(event.at, seen.now)} ago: {event.reason}: {event.message}"


def _latest(events: Iterable[Event]) -> list[Event]:
    """The last few, each sentence once."""
    by_words = {(event.reason, event.message): event for event in events}
    return list(by_words.values())[-_EVENTS_SHOWN:]
