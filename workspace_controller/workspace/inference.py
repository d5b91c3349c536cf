"""Step: the pods that serve, and their Services. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.labels import WORKSPACE_REVISION_ANNOTATION
from apis.kaito.v1beta1.status import Serving
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Condition, Manifest
from kube.objects import PODS, Unstructured
from workspace_controller import tenancy
from workspace_controller.manifests import service
from workspace_controller.plan import Deletion, Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import (
    availability,
    effects,
    failures,
    foreignedits,
    podsneeded,
    revision,
    rollout,
    sizing,
    stages,
)
from workspace_controller.workspace.children import Settled, settle
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.rollout import Move, Pods, Target
from workspace_controller.workspace.sizing import Served, Sizing
from workspace_controller.workspace.workload import (
    NO_ROOM_ANNOTATION,
    Workload,
    live_manifest,
    of_manifest,
    surges,
    workload,
)


def inference(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Applies what differs, in the round in which it differs; replaces pods that are outdated, one
    move a round; says whether the model answers."""
    sized = sizing.size(workspace, seen, settings)
    if sized is None:
        return Plan()
    wanted = workload(workspace, seen, sized, settings)
    target = _target(workspace, seen, sized, wanted)
    if target.surge and _is_full(workspace, seen, settings):
        target = replace(target, surge=False)
    move = rollout.next_move(target, _pods(workspace, seen))
    pods = settle(_moved(wanted.manifest, move), seen.stateful_set)
    # No pod goes before its successor's template is stored, and known to who makes the pods.
    stored = pods.plan == Plan() and _is_observed(seen.stateful_set)
    going = move.outgoing if stored else ()
    ready = _ready(workspace, seen, sized.need.nodes, move, {each.metadata.name for each in going})
    ready = _refused_by_quota(ready, workspace, seen, settings)
    services = _services(workspace, seen, sized, move)
    by_hand = sum((each.edits for each in (*services, pods)), ())
    return Plan(
        delete=tuple(Deletion.of(PODS, each) for each in going),
        conditions=(foreignedits.noted(ready, by_hand),),
        events=foreignedits.events(workspace.status.foreign_edits, by_hand),
        status={
            "endpoint": service.url(workspace),
            "serving": None if sized.served is None else _serving(sized.served),
            "foreign_edits": by_hand,
        },
        usual={} if sized.served is None else stages.usual_of(sized.served.model),
        waits_for=None if ready.status == "True" else ready.reason,
        look_again=move.look_again,
    ) + sum((each.plan for each in (*services, pods)), _reported(workspace, seen, wanted, move))


def _target(workspace: Workspace, seen: Observed, sized: Sizing, wanted: Workload) -> Target:
    found = seen.stateful_set
    return Target(
        name=workspace.metadata.name,
        nodes=sized.need.nodes,
        pod_hash=wanted.pod_hash,
        surge=surges(workspace) and not wanted.scaled_by_hand,
        no_room="" if found is None else found.metadata.annotations.get(NO_ROOM_ANNOTATION, ""),
    )


def _pods(workspace: Workspace, seen: Observed) -> Pods:
    endpoint = seen.services.get(workspace.metadata.name)
    return Pods(seen.now, seen.pods, service.selected(endpoint))


def _moved(manifest: Manifest, move: Move) -> Manifest:
    """With what the rollout decides: how many pods, and what it has to remember."""
    metadata, spec = manifest["metadata"], manifest["spec"]
    if move.no_room:
        noted = {**metadata["annotations"], NO_ROOM_ANNOTATION: move.no_room}
        metadata = {**metadata, "annotations": noted}
    return {**manifest, "metadata": metadata, "spec": {**spec, "replicas": move.replicas}}


def _services(
    workspace: Workspace, seen: Observed, sized: Sizing, move: Move
) -> tuple[Settled, ...]:
    # A template may be anything; its ports are not ours to publish beside HTTP.
    vllm = sized.served is not None and sized.served.fit.engine == "vllm"
    wanted = (
        service.headless(workspace),
        service.endpoint(workspace, vllm=vllm, ordinal=move.selected),
    )
    return tuple(settle(each, seen.services.get(each["metadata"]["name"])) for each in wanted)


def _reported(workspace: Workspace, seen: Observed, wanted: Workload, move: Move) -> Plan:
    """status.rollout and its events, where there is something to say."""
    live = live_manifest(seen)
    if live is None:
        return Plan()
    number = revision.number(workspace, seen.revisions)
    stored = live["metadata"].get("annotations", {}).get(WORKSPACE_REVISION_ANNOTATION)
    after, events = effects.report(
        workspace.status.rollout,
        move,
        effects.effect(of_manifest(live), of_manifest(wanted.manifest)),
        edited=stored not in (None, str(number)),
        number=number,
    )
    return Plan(status={} if after is None else {"rollout": after}, events=events)


def _serving(served: Served) -> Serving:
    fit = served.fit
    return Serving(
        model=served.model.hf_id or served.model.name,
        revision=served.source.revision,
        engine=fit.engine,
        max_model_len=fit.max_model_len or 0,
        parallelism=f"tensor {fit.tensor_parallel}, pipeline {fit.pipeline_parallel}, "
        f"data {fit.data_parallel}",
        weights=str(served.source),
    )


def _ready(
    workspace: Workspace, seen: Observed, nodes: int, move: Move, going: Collection[str]
) -> Condition:
    """InferenceReady: what the Service selects answers, be it of an earlier revision; where an
    engine lies over several nodes, all its pods are up."""
    ordinals = range(nodes) if nodes > 1 else (move.selected,)
    name = workspace.metadata.name
    pods = [rollout.of_ordinal(seen.pods, name, each) for each in ordinals]
    # The StatefulSet's counts are hearsay: they outlive a pod by as long as its controller sleeps.
    up = sum(
        rollout.is_ready(pod) and pod.metadata.name not in going for pod in pods if pod is not None
    )
    if up == len(ordinals):
        stuck = (
            f"; the edit does not come up: {move.message}" if move.phase == rollout.STUCK else ""
        )
        return availability.ready(f"Inference has been deployed successfully{stuck}")
    failure = failures.classify(seen.pods)
    if failure is not None:
        return _not_ready(failure.reason, failure.message)
    return _not_ready(c.REASON_INFERENCE_PENDING, f"{up} of {nodes} inference pods are ready")


def _refused_by_quota(
    ready: Condition, workspace: Workspace, seen: Observed, settings: Settings
) -> Condition:
    """A pod that a ResourceQuota does not admit is an event of the StatefulSet, and no more."""
    alive = any(not each.ended for each in seen.pods)
    if alive and ready.reason != c.REASON_INFERENCE_PENDING:
        return ready
    short = tenancy.short_of(seen, lambda: podsneeded.wanted(workspace, seen, settings))
    return ready if short is None else _not_ready(c.REASON_RESOURCE_QUOTA_EXCEEDED, short.message)


def _is_full(workspace: Workspace, seen: Observed, settings: Settings) -> bool:
    """Whether ResourceQuotas have no room for a second pod, which is not there yet."""
    if sum(not each.ended for each in seen.pods) > 1:
        return False
    return (
        tenancy.short_of(seen, lambda: podsneeded.one_more(workspace, seen, settings)) is not None
    )


def _not_ready(reason: str, message: str) -> Condition:
    return Condition(type=c.INFERENCE_READY, status="False", reason=reason, message=message)


def _is_observed(found: Unstructured | None) -> bool:
    """Whether the status speaks of the spec that is stored; 0 means that nobody said."""
    if found is None:
        return False
    observed = int(found.status.get("observedGeneration", 0))
    return observed == 0 or observed >= found.metadata.generation
