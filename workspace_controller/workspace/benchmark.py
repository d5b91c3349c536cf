"""Step: measure what is served, once for each kind of pod, after it serves. Pure.

KAITO measures inside the startup probe, so that every start waits for it and a failure looks like
a sick model. Here a pod of its own measures what serves already, gives way to users, and leaves its
figures in its termination message. Nothing waits for it, and no other condition depends on it.
"""

from __future__ import annotations

import json
from datetime import timedelta

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.status import Metric, Performance
from apis.kaito.v1beta1.workspace import Workspace
from kube.meta import Condition
from kube.objects import PODS, ContainerStateTerminated, Pod
from workspace_controller.manifests import podhash
from workspace_controller.manifests.benchmark import benchmark_pod
from workspace_controller.plan import Deletion, Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import coldstart, sizing
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.sizing import Served, Sizing

_GIVEN_WAY = 75
"""Exit code of serving.benchmark: users were there."""
_AGAIN_AFTER_USERS = timedelta(minutes=15)
_AGAIN_AFTER_FAILURE = timedelta(hours=1)
_REVISION_KEY = "podHash"
"""In the metric's config: for which pods it was measured."""

_CONFIG = {
    "durationSec": "duration_sec",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "maxConcurrency": "max_concurrency",
    "engineVersion": "engine_version",
}


def benchmark(workspace: Workspace, seen: Observed, settings: Settings) -> Plan:
    """Comes last, and so only where the model serves."""
    sized = sizing.size(workspace, seen, settings)
    template = (seen.stateful_set.spec if seen.stateful_set else {}).get("template") or {}
    revision = podhash.hash_of(template)
    served = _measurable(workspace, sized, settings)
    if served is None or not revision:
        return Plan(delete=tuple(Deletion.of(PODS, pod) for pod in seen.benchmarks))
    if not seen.pods or any(_hash(pod) != revision for pod in seen.pods):
        return Plan()  # a rollout is under way: which pods would be measured is not certain
    stale = [pod for pod in seen.benchmarks if _revision(pod) != revision]
    gone = Plan(delete=tuple(Deletion.of(PODS, pod) for pod in stale))
    current = next((pod for pod in seen.benchmarks if _revision(pod) == revision), None)
    if _recorded(workspace) == revision:
        ended = () if current is None else (Deletion.of(PODS, current),)
        return gone + Plan(delete=ended, conditions=(_completed(),))
    if current is not None:
        return gone + _outcome(current, seen, served, revision)
    image = str(template["spec"]["containers"][0]["image"])
    name = f"{workspace.metadata.name}-benchmark-{revision[:8]}"
    pod = benchmark_pod(workspace, settings, name=name, image=image, revision=revision)
    return gone + Plan(create_last=(pod,))


def _measurable(workspace: Workspace, sized: Sizing | None, settings: Settings) -> Served | None:
    """vLLM on GPUs, unless the user or the installation wants none."""
    wanted = workspace.metadata.annotations.get(labels.DISABLE_BENCHMARK_ANNOTATION) != "true"
    if not (settings.benchmark and wanted and sized and sized.served):
        return None
    gpus = sized.need.shape.gpu.count
    return sized.served if gpus and sized.served.fit.engine == "vllm" else None


def _recorded(workspace: Workspace) -> str:
    known = workspace.status.performance
    metric = known.metrics.get(c.METRIC_PEAK_TOKENS) if known else None
    return metric.config.get(_REVISION_KEY, "") if metric else ""


def _outcome(pod: Pod, seen: Observed, served: Served, revision: str) -> Plan:
    ended = _ended(pod)
    if pod.status.phase == "Succeeded" and ended is not None:
        try:
            return _record(json.loads(ended.message), served, revision)
        except (ValueError, KeyError, TypeError):
            return _again(pod, seen, "its result cannot be read", _AGAIN_AFTER_FAILURE)
    if pod.status.phase not in ("Failed", "Succeeded"):
        return Plan()
    if ended is not None and ended.exit_code == _GIVEN_WAY:
        return _again(pod, seen, ended.message or "users were there", _AGAIN_AFTER_USERS)
    why = (ended.message or ended.reason) if ended else pod.status.message or pod.status.reason
    return _again(pod, seen, why or "it ended without a word", _AGAIN_AFTER_FAILURE)


def _record(found: dict[str, object], served: Served, revision: str) -> Plan:
    config = {key: str(found[theirs]) for key, theirs in _CONFIG.items()}
    config |= {"engine": served.fit.engine, "quantization": served.model.quantization}
    if "first_token_ms" in found:  # older images do not tell it
        config[coldstart.FIRST_TOKEN_KEY] = str(float(str(found["first_token_ms"])))
    metric = Metric(
        description="stress/high-concurrency",
        value=f"{float(str(found['vllm_total_tpm'])):.2f}",
        unit="tokens/min",
        config={**config, _REVISION_KEY: revision},
    )
    measured = Performance(metrics={c.METRIC_PEAK_TOKENS: metric})
    return Plan(status={"performance": measured}, conditions=(_completed(),))


def _again(pod: Pod, seen: Observed, why: str, after: timedelta) -> Plan:
    """The pod stays to be looked at until its time has come; then another one measures."""
    failed = Condition(
        type=c.BENCHMARK_COMPLETED, status="False", reason=c.REASON_BENCHMARK_FAILED, message=why
    )
    born = pod.metadata.creation_timestamp or seen.now
    left = (born + after - seen.now).total_seconds()
    if left > 0:
        return Plan(conditions=(failed,), look_again=left)
    return Plan(conditions=(failed,), delete=(Deletion.of(PODS, pod),))


def _completed() -> Condition:
    return Condition(
        type=c.BENCHMARK_COMPLETED,
        status="True",
        reason=c.REASON_BENCHMARK_COMPLETED,
        message="the figures are in status.performance",
    )


def _ended(pod: Pod) -> ContainerStateTerminated | None:
    return next((each.state.terminated for each in pod.status.container_statuses), None)


def _hash(pod: Pod) -> str:
    return pod.metadata.annotations.get(podhash.POD_HASH_ANNOTATION, "")


def _revision(pod: Pod) -> str:
    return pod.metadata.annotations.get(labels.BENCHMARK_OF_ANNOTATION, "")
