"""The Job of a tuning, against files that show it, and what of a configuration it depends on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from apis.kaito.v1beta1.workspace import TuningSpec
from kube.meta import Manifest
from presets.tuning import Recipe
from tests.builders import UID, a_claim, a_node, a_world, settings
from tests.tuning_worlds import TUNING, a_training_config, a_tuning
from workspace_controller.nodes.attempts import claim_name
from workspace_controller.workspace import recipe
from workspace_controller.workspace.plan import make_plan

GOLDEN = Path(__file__).parents[2] / "golden" / "workspace"
INSECURE = "registry.default.svc:5000"
CLAIM = {"persistentVolumeClaim": {"claimName": "data"}}
QLORA: dict[str, Any] = {
    "method": "QLoRA",
    "config": "training",
    "input": {"volumeSource": CLAIM},
    "output": {"volumeSource": CLAIM},
}
QUANTISED = """\
training_config:
  QuantizationConfig:
    load_in_4bit: true
  TrainingArguments:
    output_dir: out
"""
CASES = [
    pytest.param(
        "tuning-lora", {}, "local-cpu-4", "", id="LoRA from a URL into an image, on a CPU"
    ),
    pytest.param("tuning-qlora", QLORA, "local-gpu-2", QUANTISED, id="QLoRA between volumes"),
]


def job(tuning: Manifest, instance_type: str = "local-gpu-1", config: str = "") -> Manifest:
    workspace = a_tuning(tuning=tuning, instance_type=instance_type)
    seen = a_world(
        claims=(a_claim(claim_name(UID, 0, 1), node="node-1", ready=True),),
        nodes=(a_node(instance_type=instance_type, gpus=2 if "gpu" in instance_type else 0),),
        config=a_training_config(config) if config else None,
    )
    installed = dataclasses.replace(settings(), insecure_registries=INSECURE)
    plan = make_plan(workspace, seen, installed)
    (found,) = (each for each in plan.create if each["kind"] == "Job")
    return found


def init(made: Manifest, name: str) -> Manifest:
    (found,) = (
        each for each in made["spec"]["template"]["spec"]["initContainers"] if each["name"] == name
    )
    return dict(found)


def variables(container: Manifest) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.parametrize(("name", "tuning", "instance_type", "config"), CASES)
def test_jobs_are_as_the_golden_file_shows_them(
    name: str, tuning: Manifest, instance_type: str, config: str
):
    expected = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())
    assert job(tuning, instance_type, config) == expected


def test_data_of_an_image_comes_with_its_secrets_and_of_the_hub_with_the_token():
    image = {"image": "registry.example/data:1", "imagePullSecrets": ["one", "two"]}
    data = init(job({"input": image}), "data")
    assert variables(data) == {
        "DATASET_FOLDER_PATH": "/mnt/data",
        "KAITO_DATA_IMAGE": "registry.example/data:1",
        "KAITO_INSECURE_REGISTRIES": INSECURE,
    }
    paths = [each["mountPath"] for each in data["volumeMounts"]]
    assert paths == ["/mnt/data", "/var/run/kaito/data/0", "/var/run/kaito/data/1"]
    volumes = job({"input": image})["spec"]["template"]["spec"]["volumes"]
    assert {"one", "two", "push"} == {
        each["secret"]["secretName"] for each in volumes if "secret" in each
    }


def test_an_image_of_ones_own_trains_as_its_own_user():
    options = {"image": "registry.example/own:1", "imagePullSecrets": ["own"]}
    made = job({"preset": {"name": "small-1b", "presetOptions": options}})
    pod = made["spec"]["template"]["spec"]
    assert {each["image"] for each in (*pod["initContainers"], *pod["containers"])} == {
        "registry.example/own:1"
    }
    assert "runAsUser" not in pod["containers"][0]["securityContext"]
    assert pod["imagePullSecrets"] == [{"name": "own"}]


def test_retries_and_checkpoints_are_the_jobs():
    spec = job({})["spec"]
    ignored, failed = spec["podFailurePolicy"]["rules"]
    assert ignored["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert failed["onExitCodes"]["values"] == [65, 66, 71, 77, 78]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 120


@pytest.mark.parametrize(
    ("text", "tuning", "expected"),
    [
        pytest.param(
            "", {}, Recipe(method="lora", batch=1, dtype="bfloat16"), id="the release's own"
        ),
        pytest.param(
            "training_config: {}", {}, Recipe(method="lora", batch=8, dtype=""), id="the libraries'"
        ),
        pytest.param(
            "training_config: {TrainingArguments: {per_device_train_batch_size: 4, max_seq_length:"
            " 64, gradient_checkpointing: false, optim: paged_adamw_8bit}, LoraConfig: {r: 32},"
            " ModelConfig: {torch_dtype: float32}}",
            {},
            Recipe(
                method="lora",
                rank=32,
                batch=4,
                length=64,
                checkpointing=False,
                state_bytes=2.0,
                dtype="float32",
            ),
            id="the user's",
        ),
        pytest.param(
            "training_config: {QuantizationConfig: {load_in_8bit: true}}",
            {"method": "qlora"},
            Recipe(method="qlora", batch=8, load_in="8bit", dtype=""),
            id="eight bits",
        ),
        pytest.param(
            "training_config: {}",
            {"method": "full"},
            Recipe(method="full", batch=8, dtype="float32"),
            id="all weights",
        ),
    ],
)
def test_what_is_reckoned_with(text: str, tuning: Manifest, expected: Recipe):
    config = a_training_config(text) if text else None
    named = {"config": "training"} if text else {}
    spec = TuningSpec.model_validate({**TUNING, **tuning, **named})
    assert recipe.wanted(spec, config).recipe == expected
