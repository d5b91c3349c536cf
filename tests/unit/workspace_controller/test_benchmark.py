"""When a served model is measured, and what becomes of the figures."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import msgspec
import pytest

from kube.meta import ObjectMeta
from kube.objects import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
    PodStatus,
    Unstructured,
)
from tests.builders import NOW, a_pod, a_workspace, a_world, settings
from workspace_controller.plan import Plan
from workspace_controller.workspace.benchmark import benchmark

HASH = "0123456789abcdef"
FIGURES = {
    "vllm_total_tpm": 51234.5,
    "duration_sec": 10.1,
    "input_tokens": 812,
    "output_tokens": 128,
    "max_concurrency": 32,
    "engine_version": "0.32.0",
}


def template(pod_hash: str = HASH) -> Unstructured:
    return Unstructured(
        metadata=ObjectMeta(name="falcon", namespace="default"),
        spec={
            "template": {
                "metadata": {"annotations": {"kaito.sh/pod-hash": pod_hash}},
                "spec": {"containers": [{"image": "localhost/kaito-serving-vllm:1"}]},
            }
        },
    )


def serving(pod_hash: str = HASH) -> Pod:
    pod = a_pod(node="n1", ready=True, phase="Running")
    annotations = {"kaito.sh/pod-hash": pod_hash}
    return msgspec.structs.replace(
        pod, metadata=msgspec.structs.replace(pod.metadata, annotations=annotations)
    )


def measuring(
    phase: str, message: str = "", *, exit_code: int = 0, of: str = HASH, minutes: float = 0
) -> Pod:
    ended = ContainerStateTerminated(message=message, exit_code=exit_code)
    status = ContainerStatus(name="benchmark", state=ContainerState(terminated=ended))
    return Pod(
        metadata=ObjectMeta(
            name=f"falcon-benchmark-{of[:8]}",
            namespace="default",
            uid=f"uid-{of[:4]}",
            creation_timestamp=NOW - timedelta(minutes=minutes),
            labels={"kaito.sh/benchmark": "falcon"},
            annotations={"kaito.sh/benchmark-of": of},
        ),
        status=PodStatus(phase=phase, container_statuses=(status,) if message else ()),
    )


def plan(*pods: Pod, workspace=None, installation=None, at: str = HASH, **world) -> Plan:
    seen = a_world(
        stateful_set=template(at), pods=world.pop("serving", (serving(),)), benchmarks=pods, **world
    )
    workspace = workspace or a_workspace(instance_type="local-gpu-1")
    return benchmark(workspace, seen, installation or settings())


def measured():
    found = plan(measuring("Succeeded", json.dumps(FIGURES)))
    before = a_workspace(instance_type="local-gpu-1")
    return before.model_copy(
        update={"status": before.status.model_copy(update=dict(found.status))}
    ), found


def test_what_serves_on_gpus_is_measured_by_a_pod_of_its_own():
    (pod,) = plan().create_last
    assert pod["metadata"]["name"] == "falcon-benchmark-01234567"
    assert pod["metadata"]["labels"] == {"kaito.sh/benchmark": "falcon"}
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "localhost/kaito-serving-vllm:1"
    assert container["args"] == ["--url=http://falcon.default.svc.cluster.local"]
    assert "nvidia.com/gpu" not in json.dumps(container["resources"])
    assert pod["spec"]["affinity"]["nodeAffinity"]
    assert pod["spec"]["automountServiceAccountToken"] is pod["spec"]["enableServiceLinks"] is False
    assert container["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(
            {
                "workspace": a_workspace(
                    instance_type="local-gpu-1",
                    annotations={"kaito.sh/disable-benchmark": "true"},
                )
            },
            id="the user wants none",
        ),
        pytest.param({"workspace": a_workspace(instance_type="local-cpu-4")}, id="no GPUs"),
        pytest.param({"serving": (serving("another"),)}, id="a rollout is under way"),
        pytest.param({"serving": ()}, id="nothing is seen to serve"),
    ],
)
def test_else_nothing_is_measured(given):
    assert plan(**given).create_last == ()


def test_an_installation_may_do_without():
    quiet = dataclasses.replace(settings(), benchmark=False)
    assert plan(installation=quiet).create_last == ()


def test_figures_are_recorded_under_upstreams_names():
    workspace, found = measured()
    metric = workspace.status.performance.metrics["peakTokensPerMinute"]
    assert (metric.value, metric.unit) == ("51234.50", "tokens/min")
    assert metric.description == "stress/high-concurrency"
    assert metric.config["maxConcurrency"] == "32"
    assert metric.config["engine"] == "vllm"
    assert [(each.type, each.status) for each in found.conditions] == [
        ("BenchmarkCompleted", "True")
    ]


def test_once_recorded_the_pod_goes_and_no_other_comes():
    workspace, _ = measured()
    after = plan(measuring("Succeeded", json.dumps(FIGURES)), workspace=workspace)
    assert [each.name for each in after.delete] == ["falcon-benchmark-01234567"]
    assert after.create_last == ()
    assert plan(workspace=workspace).create_last == ()


def test_other_pods_are_measured_anew_and_the_old_measurement_goes():
    workspace, _ = measured()
    other = "ffffffffffffffff"
    found = plan(measuring("Running"), workspace=workspace, at=other, serving=(serving(other),))
    assert [each.name for each in found.delete] == ["falcon-benchmark-01234567"]
    assert found.create_last[0]["metadata"]["annotations"] == {"kaito.sh/benchmark-of": other}


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        (measuring("Failed", "500 dead", exit_code=1), "500 dead"),
        (measuring("Failed", "others use the model now", exit_code=75), "others use the model now"),
        (measuring("Succeeded", "no figures"), "its result cannot be read"),
        (measuring("Failed"), "it ended without a word"),
    ],
)
def test_a_failure_is_told_and_tried_again_later(pod, message):
    found = plan(pod)
    assert [(each.type, each.status, each.reason, each.message) for each in found.conditions] == [
        ("BenchmarkCompleted", "False", "BenchmarkFailed", message)
    ]
    assert found.look_again is not None
    assert found.delete == ()
    later = msgspec.structs.replace(
        pod,
        metadata=msgspec.structs.replace(
            pod.metadata, creation_timestamp=NOW - timedelta(minutes=61)
        ),
    )
    assert [each.name for each in plan(later).delete] == ["falcon-benchmark-01234567"]


def test_users_are_waited_for_less_long_than_a_mistake():
    users = plan(measuring("Failed", "others", exit_code=75)).look_again
    mistake = plan(measuring("Failed", "broken", exit_code=1)).look_again
    assert users is not None
    assert mistake is not None
    assert users < mistake
