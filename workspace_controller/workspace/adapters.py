"""Step: adapters that come and go while the model is served. Pure.

What a pod has is written on the pod: its template says what it was started with, and the step
corrects it once a loader has done its errand. So all that is to be done follows from the API
server: what the Workspace asks for, less what is written on each pod. A loader that failed stays
until the next attempt, as the record of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from apis.kaito.v1beta1.status import AdapterStatus
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Manifest
from kube.objects import PODS, Pod
from workspace_controller import messages
from workspace_controller.manifests import adapters as parts
from workspace_controller.manifests import loader
from workspace_controller.manifests.adapters import ADAPTERS_ANNOTATION, Bringer
from workspace_controller.manifests.containers import Images
from workspace_controller.manifests.loader import Errand
from workspace_controller.plan import Change, Deletion, Event, Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import failures, sizing
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.rollout import is_ready

PENDING, LOADING, READY = "Pending", "Loading", "Ready"
FAILED, REMOVING = "Failed", "Removing"
_WORST_FIRST = (FAILED, REMOVING, LOADING, PENDING, READY)

_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one adapter of one pod needs now, and how it stands."""

    status: AdapterStatus
    loader: Pod | None = None
    """The one that counts; all others of the Workspace are taken away."""
    send: Errand | None = None
    done: Errand | None = None
    look_again: float | None = None


def adapters(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Loaders where something is to be loaded or removed; the state of each adapter."""
    inference = workspace.inference
    if inference is None or inference.preset is None:
        return Plan()
    secret = _secret(workspace, seen, settings)
    alive = [pod for pod in seen.pods if pod.metadata.deletion_timestamp is None]
    turns = [turn for pod in alive for turn in _turns(workspace, pod, seen)]
    plan = Plan(create=secret, status={"adapters": _statuses(workspace, turns)})
    for turn in turns:
        plan += _sent(workspace, turn, seen, settings)
    for pod in alive:
        plan += _written_down(pod, [turn.done for turn in turns if turn.done is not None])
    kept = {turn.loader.metadata.uid for turn in turns if turn.loader is not None}
    return plan + Plan(delete=_superfluous(seen.loaders, kept))


def _secret(workspace: Workspace, seen: Observed, settings: Settings) -> tuple[Manifest, ...]:
    """The token, before the first pod that reads it can exist."""
    live = seen.stateful_set
    template = (live.spec.get("template") or {}) if live is not None else {}
    said = (template.get("metadata") or {}).get("annotations") or {}
    if ADAPTERS_ANNOTATION in said:
        return ()
    sized = sizing.size(workspace, seen, settings)
    if sized is None or sized.served is None:
        return ()
    if not parts.taken_at_run_time(workspace, sized.served.model, sized.served.fit):
        return ()
    return (parts.token_secret(workspace, seen.nonce),)


def _turns(workspace: Workspace, pod: Pod, seen: Observed) -> list[Turn]:
    wanted = parts.hashes(workspace)
    has = parts.read(pod.metadata.annotations)
    if has is None:
        return [Turn(_of_cold(name, each, pod)) for name, each in wanted.items()]
    specs = {spec.source.name: spec for spec in parts.of(workspace) if spec.source is not None}
    turns = []
    for name, each in wanted.items():
        if has.get(name) == each:
            turns.append(Turn(_of_loaded(name, pod)))
        else:
            turns.append(_turn(Errand(pod, name, each, specs[name]), seen))
    return turns + [_turn(Errand(pod, name), seen) for name in has if name not in wanted]


def _of_cold(name: str, wanted: str, pod: Pod) -> AdapterStatus:
    """The engine takes adapters only when it starts."""
    annotations = pod.metadata.annotations
    has = parts.read({ADAPTERS_ANNOTATION: annotations.get(parts.COLD_ADAPTERS_ANNOTATION, "{}")})
    if has is None or has.get(name) != wanted:
        message = f"pod {pod.metadata.name} was started without it; it comes with the next pod"
        return AdapterStatus(name=name, state=PENDING, message=message)
    return _of_loaded(name, pod)


def _of_loaded(name: str, pod: Pod) -> AdapterStatus:
    if is_ready(pod):
        return AdapterStatus(name=name, state=READY)
    return AdapterStatus(name=name, state=PENDING, message=f"pod {pod.metadata.name} is not ready")


def _turn(errand: Errand, seen: Observed) -> Turn:
    """How far the errand is, and what comes next."""
    name, pod = errand.adapter, errand.pod
    there = [each for each in seen.loaders if errand.is_of(each)]
    last = max(there, key=loader.attempt, default=None)
    if last is None:
        if not is_ready(pod):
            return Turn(_of_loaded(name, pod))
        return Turn(_on_its_way(errand), send=errand)
    phase = last.status.phase
    if phase == "Succeeded":
        return Turn(_on_its_way(errand), last, done=errand)
    if phase == "Failed":
        return _after_failure(replace(errand, attempt=loader.attempt(last)), last, seen.now)
    return Turn(_on_its_way(errand, last), last)


def _after_failure(errand: Errand, last: Pod, now: datetime) -> Turn:
    """Again after a pause that doubles; another source is another errand, and starts at once."""
    pause = min(_FIRST_PAUSE * 2 ** min(errand.attempt - 1, 10), _LONGEST_PAUSE)
    left = (_ended(last, now) + pause - now).total_seconds()
    status = AdapterStatus(name=errand.adapter, state=FAILED, message=_why(last))
    if left > 0:
        return Turn(status, last, look_again=left)
    if not is_ready(errand.pod):
        return Turn(status, last)
    return Turn(status, last, send=replace(errand, attempt=errand.attempt + 1))


def _on_its_way(errand: Errand, there: Pod | None = None) -> AdapterStatus:
    state = LOADING if errand.spec else REMOVING
    trouble = failures.classify([there]) if there is not None else None
    return AdapterStatus(
        name=errand.adapter, state=state, message=trouble.message if trouble else ""
    )


def _sent(workspace: Workspace, turn: Turn, seen: Observed, settings: Settings) -> Plan:
    """The next loader; after a failure with the token, whose Secret may have been deleted."""
    errand = turn.send
    if errand is None:
        return Plan(look_again=turn.look_again)
    images = Images(settings.registry, settings.image_tag)
    preset = workspace.inference.preset if workspace.inference else None
    bringer = Bringer(
        image=images.serving("vllm"),
        token_secret=preset.preset_options.model_access_secret if preset else "",
        endpoint=settings.weights.endpoint,
        insecure_registries=settings.insecure_registries,
    )
    made = loader.loader(workspace, errand, bringer, settings)
    if errand.attempt == 1:
        return Plan(create_last=(made,))
    told = Event("Warning", "AdapterFailed", f"{errand.adapter}: {turn.status.message}")
    secret = parts.token_secret(workspace, seen.nonce)
    return Plan(create=(secret,), create_last=(made,), events=(told,))


def _written_down(pod: Pod, done: Iterable[Errand]) -> Plan:
    """On the pod, in one patch; by uid, since a namesake has loaded nothing."""
    has = parts.read(pod.metadata.annotations) or {}
    after, events = dict(has), []
    for errand in done:
        if errand.pod is not pod:
            continue
        after.pop(errand.adapter, None)
        if errand.spec:
            after[errand.adapter] = errand.hash
        verb = "loaded into" if errand.spec else "removed from"
        message = f"adapter {errand.adapter} {verb} pod {pod.metadata.name}"
        reason = "AdapterLoaded" if errand.spec else "AdapterRemoved"
        events.append(Event("Normal", reason, message))
    if after == has:
        return Plan()
    meta = pod.metadata
    annotations = {ADAPTERS_ANNOTATION: parts.written(after)}
    patch: Manifest = {"metadata": {"uid": meta.uid, "annotations": annotations}}
    change = Change(PODS, meta.namespace, meta.name, patch)
    return Plan(change=(change,), events=tuple(events))


def _superfluous(loaders: Iterable[Pod], kept: set[str]) -> tuple[Deletion, ...]:
    """Loaders whose errand is done, or that nobody wants any more."""
    return tuple(
        Deletion.of(PODS, each)
        for each in loaders
        if each.metadata.uid not in kept and each.metadata.deletion_timestamp is None
    )


def _statuses(workspace: Workspace, turns: Iterable[Turn]) -> tuple[AdapterStatus, ...]:
    """One for each adapter: that of the pod that is furthest from having it."""
    waiting = "no pod is there yet"
    found = {
        name: AdapterStatus(name=name, state=PENDING, message=waiting)
        for name in parts.hashes(workspace)
    }
    ordered = sorted(turns, key=lambda turn: _WORST_FIRST.index(turn.status.state), reverse=True)
    found.update({turn.status.name: turn.status for turn in ordered})
    return tuple(found.values())


def _ended(last: Pod, now: datetime) -> datetime:
    """When the loader's last container ended; a pod that was evicted has none."""
    statuses = (*last.status.init_container_statuses, *last.status.container_statuses)
    ends = [each.state.terminated.finished_at for each in statuses if each.state.terminated]
    return max((end for end in ends if end is not None), default=_started(last, now))


def _started(last: Pod, now: datetime) -> datetime:
    return last.metadata.creation_timestamp or now


def _why(last: Pod) -> str:
    """What the container that failed said last; else the kubelet's words."""
    for each in (*last.status.init_container_statuses, *last.status.container_statuses):
        ended = each.state.terminated
        if ended is not None and ended.exit_code:
            words = " ".join(ended.message.split())
            said = words or f"exit code {ended.exit_code}"
            return messages.cut(f"{each.name}: {said}" if each.name != loader.CONTAINER else said)
    return messages.cut(last.status.message or last.status.reason or "the loader pod failed")
