"""Step: the pods that serve, and their Services. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Serving, Workspace
from kube.apply import needs_apply, with_applied_hash
from kube.meta import Condition, Manifest
from kube.objects import Unstructured
from workspace_controller.manifests import service
from workspace_controller.manifests.statefulset import inference_statefulset
from workspace_controller.plan import Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import failures, sizing
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.sizing import Served


def inference(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Applies what differs, in the round in which it differs; says whether the model answers."""
    sized = sizing.size(workspace, seen, settings)
    if sized is None:
        return Plan()
    live = _manifest(seen.stateful_set, "apps/v1", "StatefulSet")
    # A template may be anything; its ports are not ours to publish beside HTTP.
    vllm = sized.served is not None and sized.served.fit.engine == "vllm"
    wanted = (
        (service.headless(workspace), _service(seen, service.headless_name(workspace))),
        (service.endpoint(workspace, vllm=vllm), _service(seen, workspace.metadata.name)),
        (inference_statefulset(workspace, sized, settings, live), live),
    )
    ready = _ready(seen, sized.need.nodes)
    return Plan(
        apply=tuple(
            with_applied_hash(desired) for desired, is_ in wanted if needs_apply(desired, is_)
        ),
        conditions=(ready,),
        status={
            "endpoint": service.url(workspace),
            "serving": None if sized.served is None else _serving(sized.served),
        },
        waits_for=None if ready.status == "True" else ready.reason,
    )


def _serving(served: Served) -> Serving:
    fit = served.fit
    return Serving(
        model=served.model.hf_id or served.model.name,
        revision=served.model.revision,
        engine=fit.engine,
        max_model_len=fit.max_model_len or 0,
        parallelism=f"tensor {fit.tensor_parallel}, pipeline {fit.pipeline_parallel}, "
        f"data {fit.data_parallel}",
    )


def _ready(seen: Observed, replicas: int) -> Condition:
    """InferenceReady: all replicas answer, at the generation that is stored."""
    found = seen.stateful_set
    ready = 0 if found is None else int(found.status.get("readyReplicas", 0))
    asked = None if found is None else found.spec.get("replicas", 1)
    if found is not None and asked == ready == replicas and _is_current(found):
        return Condition(
            type=c.INFERENCE_READY,
            status="True",
            reason=c.REASON_INFERENCE_SUCCESS,
            message="Inference has been deployed successfully",
        )
    failure = failures.classify(seen.pods)
    if failure is not None:
        return _not_ready(failure.reason, failure.message)
    return _not_ready(c.REASON_INFERENCE_PENDING, f"{ready} of {replicas} inference pods are ready")


def _not_ready(reason: str, message: str) -> Condition:
    return Condition(type=c.INFERENCE_READY, status="False", reason=reason, message=message)


def _is_current(found: Unstructured) -> bool:
    """Whether the status speaks of the spec that is stored; 0 means that nobody said."""
    observed = int(found.status.get("observedGeneration", 0))
    return observed == 0 or observed >= found.metadata.generation


def _service(seen: Observed, name: str) -> Manifest | None:
    return _manifest(seen.services.get(name), "v1", "Service")


def _manifest(found: Unstructured | None, api_version: str, kind: str) -> Manifest | None:
    if found is None:
        return None
    built: dict[str, Any] = msgspec.to_builtins(found)
    return {"apiVersion": api_version, "kind": kind, **built}
