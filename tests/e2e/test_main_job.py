"""The sentences of the README, on real nodes: a Workspace becomes an answer, and goes again.

The tests of this module tell one story in order; the demo is run as a user runs it.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localcluster.cluster import Cluster, Settings
from localcluster.commands import CommandError
from localcluster.demo import PROMPT
from localcluster.models import Models
from tests.adapters_data import config_map, write_adapter
from tests.e2e.seen import Machines, condition, get, run_demo, serves, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = "workspace-gemma-3-270m"


@pytest.fixture(scope="module")
def demo(cluster: Cluster) -> str:
    return run_demo("up")


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, demo: str) -> Callable[..., str]:
    return cluster.kubectl


def _workspace(name: str, instance_type: str = "local-cpu-2", preset: str = "gemma-3-270m") -> str:
    return json.dumps(
        {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {
                "name": name,
                "namespace": "default",
                "annotations": {
                    "kaito.sh/runtime": "llamacpp",
                    "kaito.sh/use-local-weights": "true",
                },
            },
            "resource": {
                "instanceType": instance_type,
                "labelSelector": {"matchLabels": {"apps": name}},
            },
            "inference": {"preset": {"name": preset}},
        }
    )


def _apply(kubectl: Callable[..., str], manifest: str, tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(manifest)
    kubectl("apply", "-f", str(file))


def _apply_soon(kubectl: Callable[..., str], manifest: str, tmp_path: Path) -> None:
    """As a user does while the controller with its webhook comes back: again, until it is taken."""

    def taken() -> bool:
        try:
            _apply(kubectl, manifest, tmp_path)
        except CommandError:
            return False
        return True

    until(taken, 60)


def _claims(kubectl: Callable[..., str], workspace: str) -> list[dict[str, Any]]:
    found = get(kubectl, "nodeclaims", "-l", f"kaito.sh/workspace={workspace}")
    return list(found.get("items", []))


def _post(kubectl: Callable[..., str], workspace: str, path: str, body: object) -> Any:
    address = get(kubectl, "service", workspace)["spec"]["clusterIP"]
    request = urllib.request.Request(
        f"http://{address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise


def _completion(kubectl: Callable[..., str], workspace: str, model: str) -> str:
    body = {"model": model, "prompt": PROMPT, "max_tokens": 24, "temperature": 0}
    return str(_post(kubectl, workspace, "/v1/completions", body)["choices"][0]["text"])


def _patch(kubectl: Callable[..., str], workspace: str, patch: object) -> None:
    kubectl("patch", "workspace", workspace, "--type=merge", "-p", json.dumps(patch))


def _adapters(kubectl: Callable[..., str], workspace: str) -> dict[str, str]:
    told = get(kubectl, "workspace", workspace)["status"].get("adapters", [])
    return {each["name"]: each["state"] for each in told}


def _serving(kubectl: Callable[..., str], workspace: str) -> tuple[str, int]:
    """The pod's uid, and how often its container was started again."""
    pod = get(kubectl, "pod", f"{workspace}-0")
    return pod.get("metadata", {}).get("uid", ""), _restarts(kubectl, workspace)


def _restarts(kubectl: Callable[..., str], workspace: str) -> int:
    statuses = get(kubectl, "pod", f"{workspace}-0").get("status", {}).get("containerStatuses", [])
    return sum(int(each["restartCount"]) for each in statuses)


def test_the_model_answers_with_real_text(demo: str) -> None:
    assert "Tokyo" in demo.rpartition("answer:")[2]


def test_users_see_the_columns_they_know(demo: str) -> None:
    lines = [line.split() for line in demo.splitlines()]
    assert ["NAME", "TYPE", "CAPACITY", "ZONE", "NODE", "READY", "AGE"] in lines
    known = ["NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "JOBSTARTED"]
    assert any(line[:5] == known for line in lines)


def test_node_claim_and_node_tell_of_each_other(kubectl: Callable[..., str]) -> None:
    (claim,) = _claims(kubectl, EXAMPLE)
    node = get(kubectl, "node", claim["status"]["nodeName"])
    assert node["spec"]["providerID"] == claim["status"]["providerID"]
    assert node["metadata"]["labels"]["karpenter.sh/initialized"] == "true"
    owners = [(each["kind"], each["uid"]) for each in node["metadata"]["ownerReferences"]]
    assert owners == [("NodeClaim", claim["metadata"]["uid"])]
    assert "karpenter.sh/nodepool" not in claim["metadata"]["labels"]
    assert claim["spec"]["expireAfter"] == "Never"


def test_a_second_run_builds_and_makes_nothing(kubectl: Callable[..., str]) -> None:
    before = _claims(kubectl, EXAMPLE)[0]["metadata"]["uid"]
    said = run_demo("up")
    assert "Tokyo" in said
    assert "build image" not in said
    assert [each["metadata"]["uid"] for each in _claims(kubectl, EXAMPLE)] == [before]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        pytest.param(_workspace("bad", preset="gemma-9"), "preset.name", id="unknown preset"),
        pytest.param(_workspace("bad", "local-tpu-1"), "resource.instanceType", id="unknown type"),
        pytest.param(
            _workspace("bad", preset="llama-3.3-70b-instruct").replace("llamacpp", "vllm"),
            "GiB",
            id="model too large",
        ),
        pytest.param(
            _workspace("bad").replace('"inference"', '"inferense"'), "inferense", id="malformed"
        ),
    ],
)
def test_admission_refuses_with_field_and_reason(
    kubectl: Callable[..., str], tmp_path: Path, manifest: str, said: str
) -> None:
    with pytest.raises(CommandError) as refused:
        _apply(kubectl, manifest, tmp_path)
    assert said in str(refused.value)
    assert get(kubectl, "workspace", "bad") == {}


def test_an_edit_reaches_the_children(kubectl: Callable[..., str]) -> None:
    kubectl("annotate", "workspace", EXAMPLE, "kaito.sh/enablelb=True")
    until(lambda: get(kubectl, "service", EXAMPLE)["spec"]["type"] == "LoadBalancer")
    kubectl("annotate", "workspace", EXAMPLE, "kaito.sh/enablelb-")
    until(lambda: get(kubectl, "service", EXAMPLE)["spec"]["type"] == "ClusterIP")


def test_no_capacity_is_told_and_healed_when_there_is_some(
    cluster: Cluster, kubectl: Callable[..., str], tmp_path: Path
) -> None:
    kind = "/instance-types/local-cpu-4"
    Machines(cluster).ask("PUT", kind, {"capacity": 0})
    try:
        _apply(kubectl, _workspace("starved", "local-cpu-4"), tmp_path)
        until(
            lambda: (
                condition(get(kubectl, "workspace", "starved"), "ResourceReady").get("reason")
                == "InsufficientCapacityError"
            )
        )
        told = condition(get(kubectl, "workspace", "starved"), "ResourceReady")["message"]
        assert "all 0 of local-cpu-4 are in use" in told
        machines = Machines(cluster).ask("GET", "/machines")
        assert [each for each in machines if each["instanceType"] == "local-cpu-4"] == []
    finally:
        Machines(cluster).ask("PUT", kind, {"capacity": None})
    ready = "InferenceReady"
    until(
        lambda: condition(get(kubectl, "workspace", "starved"), ready).get("status") == "True",
        180,
    )
    assert len(_claims(kubectl, "starved")) == 1
    kubectl("delete", "workspace", "starved", "--timeout=120s")
    assert _claims(kubectl, "starved") == []
    until(lambda: len(Machines(cluster).ask("GET", "/machines")) == 1)


def test_a_gpu_node_is_waited_for_until_its_gpu_is_there(
    cluster: Cluster, kubectl: Callable[..., str], tmp_path: Path
) -> None:
    Machines(cluster).ask("PUT", "/instance-types/local-gpu-1", {"gpuSeconds": 15})
    try:
        _apply(kubectl, _workspace("late-gpu", "local-gpu-1"), tmp_path)
        claim = until(lambda: (_claims(kubectl, "late-gpu") or [None])[0])["metadata"]["name"]
        registered = lambda: condition(get(kubectl, "nodeclaim", claim), "Registered")  # noqa: E731
        until(lambda: registered().get("status") == "True")
        waiting = condition(get(kubectl, "workspace", "late-gpu"), "ResourceReady")
        assert waiting.get("status") != "True"
        until(
            lambda: (
                condition(get(kubectl, "workspace", "late-gpu"), "InferenceReady").get("status")
                == "True"
            ),
            120,
        )
        pod = get(kubectl, "pod", "late-gpu-0")
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        assert limits["nvidia.com/gpu"] == "1"
    finally:
        Machines(cluster).ask("PUT", "/instance-types/local-gpu-1", {"gpuSeconds": 0})
        kubectl("delete", "workspace", "late-gpu", "--timeout=120s")


def test_a_static_pool_keeps_its_nodes(cluster: Cluster, kubectl: Callable[..., str]) -> None:
    def nodes() -> list[dict[str, Any]]:
        return list(get(kubectl, "nodes", "-l", "karpenter.sh/nodepool=warm").get("items", []))

    def initialized() -> bool:
        return [each["metadata"]["labels"].get("karpenter.sh/initialized") for each in nodes()] == [
            "true"
        ]

    kubectl("apply", "-f", str(REPOSITORY / "examples/nodepool-static.yaml"))
    until(initialized, 60)
    (first,) = nodes()
    kubectl("delete", "node", first["metadata"]["name"], "--timeout=60s")
    until(lambda: initialized() and nodes()[0]["metadata"]["uid"] != first["metadata"]["uid"], 60)
    kubectl("scale", "nodepool", "warm", "--replicas=0")
    until(lambda: not nodes(), 60)
    kubectl("scale", "nodepool", "warm", "--replicas=1")
    until(initialized, 60)
    kubectl("delete", "nodepool", "warm", "--timeout=60s")
    until(lambda: len(Machines(cluster).ask("GET", "/machines")) == 1)


def test_the_chart_grants_the_provisioner_all_that_it_does(kubectl: Callable[..., str]) -> None:
    both = ("-n", "gpu-provisioner", "-l", "app.kubernetes.io/name=gpu-provisioner")
    said = kubectl("logs", *both, "--tail=-1")
    assert "controllers started" in said
    assert "forbidden" not in said.casefold()


def test_killed_controllers_make_no_node_twice(
    cluster: Cluster, kubectl: Callable[..., str], tmp_path: Path
) -> None:
    names = [f"killed-{number}" for number in range(3)]
    for name in names:
        _apply_soon(kubectl, _workspace(name), tmp_path)
        for namespace in ("gpu-provisioner", "kaito-workspace"):
            kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
    for name in names:
        until(
            lambda name=name: (
                condition(get(kubectl, "workspace", name), "InferenceReady").get("status") == "True"
            ),
            240,
        )
    claims = [claim["metadata"]["name"] for name in names for claim in _claims(kubectl, name)]
    assert len(claims) == len(names)
    made = {each["name"] for each in Machines(cluster).ask("GET", "/machines")}
    assert made == {*claims, *(each["metadata"]["name"] for each in _claims(kubectl, EXAMPLE))}
    kubectl("delete", "workspaces", *names, "--timeout=180s")
    until(lambda: len(Machines(cluster).ask("GET", "/machines")) == 1)


def test_a_rotated_webhook_certificate_is_trusted(
    kubectl: Callable[..., str], tmp_path: Path
) -> None:
    def trusted() -> list[str]:
        configuration = get(
            kubectl, "validatingwebhookconfiguration", "validation.workspace.kaito.sh"
        )
        bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"]
        pem = base64.b64decode(bundle).decode()
        return [part for part in pem.split("-----") if len(part) > 100]

    before = trusted()
    kubectl("delete", "secret", "-n", "kaito-workspace", "workspace-webhook-cert")
    kubectl("rollout", "restart", "-n", "kaito-workspace", "deployment/workspace")
    kubectl("rollout", "status", "-n", "kaito-workspace", "deployment/workspace")
    until(lambda: set(trusted()) - set(before))

    def refused_by_us() -> bool:
        try:
            _apply(kubectl, _workspace("bad", preset="gemma-9"), tmp_path)
        except CommandError as error:
            return "preset.name" in str(error)
        return False

    until(refused_by_us, 30)


def test_the_api_server_may_be_gone_for_a_minute(
    cluster: Cluster, kubectl: Callable[..., str]
) -> None:
    uid = _claims(kubectl, EXAMPLE)[0]["metadata"]["uid"]
    cluster.control_plane.stop()
    time.sleep(60)
    cluster.control_plane.start()

    def annotated() -> bool:
        try:
            kubectl("annotate", "--overwrite", "workspace", EXAMPLE, "kaito.sh/enablelb=True")
        except CommandError:
            return False  # the cluster's network may need a moment until the webhook answers
        return True

    until(annotated, 30)
    until(lambda: get(kubectl, "service", EXAMPLE)["spec"]["type"] == "LoadBalancer", 120)
    kubectl("annotate", "workspace", EXAMPLE, "kaito.sh/enablelb-")
    assert [each["metadata"]["uid"] for each in _claims(kubectl, EXAMPLE)] == [uid]


def test_vllm_answers_on_the_cpu_beside_it(demo: str) -> None:
    assert "Tokyo" in run_demo("up", "--engine", "vllm").rpartition("answer:")[2]


def test_an_adapter_comes_and_goes_without_a_restart(
    settings: Settings, demo: str, kubectl: Callable[..., str], tmp_path: Path
) -> None:
    """On the vLLM of the test before: loaded, answers otherwise, outlives a crash, goes."""
    folder, name = tmp_path / "shout", "workspace-gemma-3-270m-vllm"
    write_adapter(Models(settings.cache).directory / "gemma-3-270m", folder)
    volume = tmp_path / "configmap.json"
    volume.write_text(json.dumps(config_map("shout", "default", folder)))
    kubectl("create", "-f", str(volume))
    before = _serving(kubectl, name)
    plain = _completion(kubectl, name, "gemma-3-270m")

    source = {"name": "shout", "volumeSource": {"configMap": {"name": "shout"}}}
    _patch(kubectl, name, {"inference": {"adapters": [{"source": source}]}})
    until(lambda: _adapters(kubectl, name) == {"shout": "Ready"}, 240)
    assert _serving(kubectl, name) == before
    assert _completion(kubectl, name, "gemma-3-270m") == plain
    adapted = _completion(kubectl, name, "shout")
    assert adapted != plain
    with pytest.raises(urllib.error.HTTPError, match="403"):
        _post(kubectl, name, "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/tmp"})

    kubectl("exec", f"{name}-0", "--", "sh", "-c", "kill -TERM 1")
    until(lambda: _restarts(kubectl, name) == before[1] + 1, 60)
    until(lambda: serves(kubectl, name), 240)
    assert _completion(kubectl, name, "shout") == adapted

    _patch(kubectl, name, {"inference": {"adapters": []}})
    until(lambda: not _adapters(kubectl, name), 120)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _completion(kubectl, name, "shout")
    assert _serving(kubectl, name)[0] == before[0]


def test_an_edit_by_hand_reaches_the_pod_and_stays(demo: str, kubectl: Callable[..., str]) -> None:
    """With the StatefulSet controller and the kubelet for real."""
    kubectl("set", "env", f"statefulset/{EXAMPLE}", "LLAMA_LOG_COLORS=off")

    def edited() -> bool:
        containers = get(kubectl, "pod", f"{EXAMPLE}-0").get("spec", {}).get("containers", [{}])
        names = {each["name"] for each in containers[0].get("env", [])}
        return "LLAMA_LOG_COLORS" in names and serves(kubectl, EXAMPLE)

    until(edited, 180)
    until(lambda: get(kubectl, "workspace", EXAMPLE)["status"].get("foreignEdits"), 60)
    (edit,) = get(kubectl, "workspace", EXAMPLE)["status"]["foreignEdits"]
    assert (edit["object"], edit["manager"]) == (f"StatefulSet/{EXAMPLE}", "kubectl-set")

    kubectl("delete", "statefulset", EXAMPLE, "--timeout=120s")
    until(lambda: not get(kubectl, "workspace", EXAMPLE)["status"].get("foreignEdits"), 60)
    until(lambda: not edited() and serves(kubectl, EXAMPLE), 180)


def test_an_edit_of_the_options_reaches_the_pod(demo: str, kubectl: Callable[..., str]) -> None:
    """And is said to: first by `kaito diff`, then by status.rollout."""
    options = "llamacpp:\n  ctx-size: 512\n"
    kubectl("create", "configmap", "options", f"--from-literal=inference_config.yaml={options}")
    before = _serving(kubectl, EXAMPLE)[0]
    _patch(kubectl, EXAMPLE, {"inference": {"config": "options"}})
    until(lambda: _serving(kubectl, EXAMPLE)[0] != before, 180)
    until(lambda: serves(kubectl, EXAMPLE), 180)
    until(
        lambda: (
            get(kubectl, "workspace", EXAMPLE)["status"].get("rollout", {}).get("phase")
            == "Complete"
        ),
        60,
    )
    assert "Tokyo" in _completion(kubectl, EXAMPLE, "gemma-3-270m")


def test_down_shows_that_node_and_claim_go_and_leaves_nothing(
    cluster: Cluster, kubectl: Callable[..., str]
) -> None:
    said = run_demo("down")
    assert "NodeClaims: gone" in said
    assert "nothing is left" in said
    assert cluster.leftovers() == []
