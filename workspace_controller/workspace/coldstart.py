"""How long a start took, and where the time went: what operators of GPUs pay for. Pure.

A *start* is a Workspace's way from the wish to an answering engine: its first one, and each later
one in which a pod is made anew (an edit, a lost node). It ends when the last of the pods is ready;
where there are several, that pod and the node that was initialized last are the ones that count.

    claim        Workspace created        → its NodeClaim created, refused attempts included; first
                                            start only: no later wish leaves a date
    launch       NodeClaim created        → its condition Launched: the cloud has a machine
    boot         Launched                 → Registered: the Node is there
    driver       Registered               → Initialized: ready, and its GPUs can be asked for
    image        pod's PodScheduled       → its first container runs; and, behind init containers,
                                            from the end of the last → the engine's container runs
    weights      first init container     → last init container ended: they bring the weights
                 runs                       and the adapters
    load         engine's container runs  → pod Ready: weights read, compiled, warm
    first_token  first request            → its first token, as the benchmark's first request
                                            met it: what the engine still leaves for its first user

A stage without its two dates is left out, never guessed: a node that was there already has no
`launch`, a pod without init containers no `weights`, an engine that no benchmark measures no
`first_token`; and of a pod whose container has started again, the container's own stages are not
known. Dates are the API server's and the kubelet's, of whole seconds; logs are not needed for them.

Each start is told once, whoever leads: what was told is in `status.coldStart`, written with the
round's status and conditional on its resourceVersion, and who wrote it counts it
(`workspace_controller.startmetrics`). A crash between the two loses one observation, and none is
doubled. Memory would do neither: a new leader finds all that serves, and has seen no start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.status import ColdStart, WorkspaceStatus
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1 import conditions as kc
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.meta import Condition, find_condition
from kube.objects import ContainerStatus, Pod
from workspace_controller.workspace.observed import Observed

CLAIM: Final = "claim"
LAUNCH: Final = "launch"
BOOT: Final = "boot"
DRIVER: Final = "driver"
IMAGE: Final = "image"
WEIGHTS: Final = "weights"
LOAD: Final = "load"
FIRST_TOKEN: Final = "first_token"  # noqa: S105  # no secret
STAGES: Final = (CLAIM, LAUNCH, BOOT, DRIVER, IMAGE, WEIGHTS, LOAD, FIRST_TOKEN)

FIRST_TOKEN_KEY: Final = "firstTokenMs"  # noqa: S105
"""In the config of the benchmark's figure."""

T = TypeVar("T")


def cold_start(workspace: Workspace, after: WorkspaceStatus, seen: Observed) -> ColdStart | None:
    """What status.coldStart is after the round whose other fields are in `after`."""
    before = workspace.status.cold_start
    ready = find_condition(after.conditions, c.INFERENCE_READY)
    if workspace.inference is None or ready is None or ready.status != "True":
        return before
    pod = _latest(seen.pods, _ready_at)
    ended = _ready_at(pod) if pod is not None else None
    if pod is None or ended is None or not _is_another(pod, before):
        return _with_first_token(before, workspace.status, after)
    known = before is None and not _is_first(workspace)
    claim = None if known else _claim_of(seen.claims, before)
    started = _started(workspace, pod, claim)
    stages = {**_of_claim(workspace, claim), **of_pod(pod)}
    return ColdStart(
        pod=pod.metadata.name,
        node=pod.spec.node_name,
        started_at=_written(started or ended),
        ready_at=_written(ended),
        seconds=_text((ended - (started or ended)).total_seconds()),
        stages={stage: _text(stages[stage]) for stage in STAGES if stage in stages},
    )


def of_pod(pod: Pod) -> Mapping[str, float]:
    """Seconds by stage, of those that are the pod's own."""
    engines = pod.status.container_statuses
    begun = [_begun(each) for each in engines]
    if any(each.restart_count for each in (*engines, *pod.status.init_container_statuses)):
        return {}
    inits = [each for each in pod.status.init_container_statuses if each.state.terminated]
    first = min(filter(None, map(_begun, pod.status.init_container_statuses)), default=None)
    last = max(filter(None, map(_finished, inits)), default=None)
    engine = max(filter(None, begun), default=None)
    image = _between(_since(pod.status.conditions, "PodScheduled"), first or engine)
    second = _between(last, engine) if first is not None else 0.0
    return _known(
        {
            IMAGE: None if image is None else image + (second or 0.0),
            WEIGHTS: _between(first, last),
            LOAD: _between(engine, _ready_at(pod)),
        }
    )


def of_claim(claim: NodeClaim) -> Mapping[str, float]:
    """Seconds by stage, of those that are the claim's own."""
    told = claim.status.conditions
    dates = [
        claim.metadata.creation_timestamp,
        *(_since(told, kind) for kind in (kc.LAUNCHED, kc.REGISTERED, kc.INITIALIZED)),
    ]
    return _known(
        {
            stage: _between(dates[place], dates[place + 1])
            for place, stage in enumerate((LAUNCH, BOOT, DRIVER))
        }
    )


def _is_another(pod: Pod, before: ColdStart | None) -> bool:
    """A pod that was there when the last start ended may become ready again: that is none."""
    born = pod.metadata.creation_timestamp
    return before is None or (born is not None and born > _read(before.ready_at))


def _claim_of(claims: Iterable[NodeClaim], before: ColdStart | None) -> NodeClaim | None:
    """The claim that the start waited for longest; None where the nodes were there already."""
    fresh = [
        each
        for each in claims
        if (born := each.metadata.creation_timestamp) is not None
        and (before is None or born > _read(before.ready_at))
    ]
    return _latest(fresh, lambda each: _since(each.status.conditions, kc.INITIALIZED))


def _is_first(workspace: Workspace) -> bool:
    """One that serves already, and of which no start is written down, has had its first under a
    release that wrote none."""
    status = workspace.status
    return status.cold_start is None and status.state in ("", c.STATE_PENDING)


def _of_claim(workspace: Workspace, claim: NodeClaim | None) -> Mapping[str, float]:
    if claim is None:
        return {}
    asked = workspace.metadata.creation_timestamp if _is_first(workspace) else None
    waited = _between(asked, claim.metadata.creation_timestamp)
    return {**_known({CLAIM: waited}), **of_claim(claim)}


def _started(workspace: Workspace, pod: Pod, claim: NodeClaim | None) -> datetime | None:
    if _is_first(workspace):
        return workspace.metadata.creation_timestamp
    born = (each.metadata.creation_timestamp for each in (pod, claim) if each is not None)
    return min(filter(None, born), default=None)


def _with_first_token(
    start: ColdStart | None, before: WorkspaceStatus, after: WorkspaceStatus
) -> ColdStart | None:
    """Known only once the benchmark has measured, after the start; and only its first time, for
    the same figure says nothing of a later start."""
    known = after.performance
    if start is None or FIRST_TOKEN in start.stages or known is None or known == before.performance:
        return start
    metric = known.metrics.get(c.METRIC_PEAK_TOKENS)
    milliseconds = metric.config.get(FIRST_TOKEN_KEY, "") if metric else ""
    if not milliseconds:
        return start
    told = {**start.stages, FIRST_TOKEN: _text(float(milliseconds) / 1000)}
    return start.model_copy(update={"stages": told})


def _since(conditions: Iterable[Condition], kind: str) -> datetime | None:
    found = find_condition(conditions, kind)
    return found.last_transition_time if found is not None and found.status == "True" else None


def _ready_at(pod: Pod) -> datetime | None:
    return _since(pod.status.conditions, "Ready")


def _begun(container: ContainerStatus) -> datetime | None:
    """When it began to run, also where it has ended."""
    if container.state.terminated is not None:
        return container.state.terminated.started_at
    began = (container.state.running or {}).get("startedAt")
    return datetime.fromisoformat(began) if began else None


def _finished(container: ContainerStatus) -> datetime | None:
    return container.state.terminated.finished_at if container.state.terminated else None


def _latest(items: Iterable[T], when: Callable[[T], datetime | None]) -> T | None:
    dated = [(at, item) for item in items if (at := when(item)) is not None]
    return max(dated, key=lambda each: each[0])[1] if dated else None


def _between(start: datetime | None, end: datetime | None) -> float | None:
    """Clocks of machines differ: what seems to end before it began took no time."""
    if start is None or end is None:
        return None
    return max(timedelta(0), end - start).total_seconds()


def _known(stages: Mapping[str, float | None]) -> Mapping[str, float]:
    return {stage: seconds for stage, seconds in stages.items() if seconds is not None}


def _read(written: str) -> datetime:
    return datetime.fromisoformat(written)


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _text(seconds: float) -> str:
    return f"{max(0.0, seconds):.3f}".rstrip("0").rstrip(".")
