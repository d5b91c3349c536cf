"""What makes pods other pods, and what does not."""

from __future__ import annotations

import copy

import pytest

from workspace_controller.manifests.podhash import hash_of, pod_hash, with_pod_hash

TEMPLATE = {
    "metadata": {"labels": {"kaito.sh/workspace": "falcon"}},
    "spec": {
        "containers": [
            {
                "name": "falcon",
                "image": "serving:1",
                "volumeMounts": [{"name": "dshm", "mountPath": "/dev/shm"}],
            }
        ],
        "volumes": [{"name": "dshm", "emptyDir": {}}],
    },
}
CONFIG = {"inference_config.yaml": "vllm: {}\n"}


def edited(edit):
    template = copy.deepcopy(TEMPLATE)
    edit(template)
    return template


def with_adapter(template):
    """As an adapter comes in: a volume, a mount, a puller, and the note of it."""
    template["metadata"]["annotations"] = {"kaito.sh/adapters": '{"legal":"1"}'}
    pod = template["spec"]
    pod["containers"][0]["volumeMounts"].append({"name": "adapter-volume", "mountPath": "/mnt"})
    pod["volumes"] += [
        {"name": "adapter-volume", "emptyDir": {}},
        {"name": "pull-legal-registry", "secret": {"secretName": "registry"}},
    ]
    pod["initContainers"] = [{"name": "puller-legal", "image": "puller:1"}]
    pod["imagePullSecrets"] = [{"name": "registry"}]


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda t: t["spec"]["containers"][0].update(image="serving:2"), id="image"),
        pytest.param(lambda t: t["spec"]["containers"][0].update(args=["--x"]), id="arguments"),
        pytest.param(
            lambda t: t["spec"].update(initContainers=[{"name": "warm"}]), id="init container"
        ),
        pytest.param(lambda t: t["spec"].update(nodeSelector={"a": "b"}), id="where it may run"),
        pytest.param(
            lambda t: t["metadata"].update(
                annotations={"kubectl.kubernetes.io/restartedAt": "2026-11-21T12:00:00Z"}
            ),
            id="kubectl rollout restart",
        ),
        pytest.param(
            lambda t: t["spec"].update(imagePullSecrets=[{"name": "own"}]), id="pull secret"
        ),
    ],
)
def test_what_a_pod_is_started_with_makes_it_another(edit):
    assert pod_hash(edited(edit), None) != pod_hash(TEMPLATE, None)


def test_the_content_of_the_config_map_makes_it_another():
    other = {"inference_config.yaml": "vllm: {max-model-len: 512}\n"}
    values = {pod_hash(TEMPLATE, each) for each in (None, {}, CONFIG, other)}
    assert len(values) == 4


def test_an_adapter_that_comes_in_while_it_runs_does_not():
    assert pod_hash(edited(with_adapter), CONFIG) == pod_hash(TEMPLATE, CONFIG)


def test_the_hash_is_carried_by_the_pods_and_is_no_part_of_itself():
    value = pod_hash(TEMPLATE, None)
    marked = with_pod_hash({"spec": {"template": TEMPLATE}}, value)["spec"]["template"]
    assert hash_of(marked) == value
    assert pod_hash(marked, None) == value
    assert hash_of(TEMPLATE) == hash_of(None) == ""
