"""What the controller says is what the images understand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from serving.llamacpp import arguments as llamacpp_arguments
from serving.vllm import arguments as vllm_arguments
from serving.vllm import cluster, health

from apis import container
from apis.gpu import GPU
from presets import catalog, estimate
from presets.engines import llamacpp, vllm
from presets.engines.options import Options
from presets.fits import Fit
from presets.model import Model
from workspace_controller.manifests import containers, probes

NO_GPU = GPU(count=0, model="", memory_gib=0.0)
H100 = GPU(count=8, model="NVIDIA-H100-80GB-HBM3", memory_gib=80.0)
EVERYTHING = Options(
    served_model_name="mine",
    port=5001,
    weights_dir=container.WEIGHTS_DIR,
    max_model_len=4096,
    adapters_dir=container.ADAPTERS_DIR,
    performance_mode="throughput",
    disable_rate_limit=True,
)
GEMMA = "gemma-3-270m"
IMAGE = Path(__file__).parents[3] / "images/serving/vllm"


def preset(name: str) -> Model:
    found = catalog.load().lookup(name)
    assert found is not None
    return found


def on_cpu(engine: str) -> tuple[Model, Fit]:
    model = preset(GEMMA)
    return model, estimate.fit(model, NO_GPU, memory_gib=12, cpus=4, engine=engine)


def test_llamacpp_understands_what_the_preset_says() -> None:
    model, fit = on_cpu("llamacpp")
    found = llamacpp_arguments.parse(llamacpp.argv(model, fit, EVERYTHING))
    assert str(found.model) == f"{container.WEIGHTS_DIR}/{model.gguf_file}"
    assert (found.alias, found.port, found.context_size) == ("mine", 5001, 4096)
    assert found.threads >= 1


def test_llamacpp_starts_with_the_least() -> None:
    model, fit = on_cpu("llamacpp")
    found = llamacpp_arguments.parse(llamacpp.argv(model, fit, Options()))
    assert (found.alias, found.port) == (GEMMA, container.PORT)
    assert found.context_size == fit.max_model_len


def test_vllm_on_a_cpu_understands_what_the_preset_says() -> None:
    model, fit = on_cpu("vllm")
    ours, rest = vllm_arguments.own(vllm.argv(model, fit, EVERYTHING))
    assert str(ours.adapters_dir) == container.ADAPTERS_DIR
    assert ours.rate_limit is False
    given = vllm_arguments.Given.of(rest)
    assert given.values["model"] == container.WEIGHTS_DIR
    assert given.values["dtype"] == "float32"
    assert given.values["served-model-name"] == "mine"


@pytest.mark.parametrize("name", catalog.load().names())
def test_vllm_on_gpus_understands_every_preset(name: str) -> None:
    model = preset(name)
    try:
        fit = estimate.fit(model, H100, memory_gib=900, cpus=96)
    except estimate.DoesNotFitError:
        pytest.fail(f"{name} does not fit on eight H100 a node")
    ours, rest = vllm_arguments.own(vllm.argv(model, fit, Options()))
    launch = vllm_arguments.launch(
        ours,
        rest,
        python="python",
        settings={},
        adapters=[],
        machine=vllm_arguments.Machine(gpu=True),
    )
    given = vllm_arguments.Given.of(launch.argv[3:]).values
    assert given["model"] == model.hf_id
    assert not [flag for flag in given if flag.startswith("kaito-")]


SCRIPTS = "/workspace/vllm/"
"""Where the image has them."""


@pytest.mark.parametrize(
    "probe",
    [
        pytest.param(probes.distributed_startup("ws-0", 600), id="startup"),
        pytest.param(probes.distributed_readiness("ws-0"), id="readiness"),
        pytest.param(probes.distributed_liveness("ws-0", 6379), id="liveness"),
    ],
)
def test_probes_of_several_nodes_are_understood(probe: dict[str, Any]) -> None:
    _, script, *words = probe["exec"]["command"]
    assert (IMAGE / "scripts" / script.removeprefix(SCRIPTS)).is_file()
    assert health.verdict(words, {container.ENV_POD_INDEX: "0"}, lambda _: 200) == 0


def test_the_roles_of_several_nodes_are_understood() -> None:
    text = Path(containers.__file__).read_text()
    assert f"{SCRIPTS}multi-node-serving.sh" in text
    calls = re.findall(r'"\$ray" (leader|worker) ((?:--\S+ ?)+)', text)
    assert [role for role, _ in calls] == ["leader", "worker"]
    for role, flags in calls:
        words = re.sub(r'"\$\w+"|\{\w+\}', "7", flags).split()
        assert cluster.parse([role, *words]).port == 7


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_the_image_has_the_scripts(name: str) -> None:
    assert f"COPY images/serving/vllm/scripts/ {SCRIPTS}" in (IMAGE / name).read_text()
