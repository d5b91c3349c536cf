"""What the controller says is what the images understand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serving.llamacpp import arguments as llamacpp_arguments
from serving.transformers import arguments as transformers_arguments
from serving.vllm import arguments as vllm_arguments
from serving.vllm import cluster, follower, health

from apis import container, engineoptions
from apis.gpu import GPU
from presets import catalog, estimate
from presets.engines import llamacpp, registry, tgi, transformers, vllm
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
    text = containers.SCRIPTS["ray"]
    assert f"{SCRIPTS}multi-node-serving.sh" in text
    calls = re.findall(r'"\$ray" (leader|worker) ((?:--\S+ ?)+)', text)
    assert [role for role, _ in calls] == ["leader", "worker"]
    for role, flags in calls:
        words = re.sub(r'"\$\w+"|\d+', "7", flags).split()
        assert cluster.parse([role, *words]).port == 7


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_the_image_has_the_scripts(name: str) -> None:
    assert f"COPY images/serving/vllm/scripts/ {SCRIPTS}" in (IMAGE / name).read_text()


def test_the_follower_is_understood() -> None:
    (call,) = re.findall(r"serving\.vllm\.follower (.*) --headless", containers.SCRIPTS["mp"], re.S)
    words = re.sub(r'"\$@"', "--nnodes=2", call.replace("\\\n", " ")).split()
    found = follower.parse([word.strip('"') for word in words] + ["--headless"])
    assert found.port == vllm.MASTER_PORT
    assert found.command == ("python", "-m", "serving.vllm", "--nnodes=2", "--headless")


FLAGS = Path(__file__).parent / "flags"
"""What each engine's own parser knows, with its version."""


def known(name: str) -> set[str]:
    lines = (FLAGS / f"{name}.txt").read_text().splitlines()
    assert lines[0].startswith("# ")
    return {*lines[1:]}


def names(arguments: list[str]) -> set[str]:
    """A dotted flag sets a field of the one before the dot."""
    found = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    return {name.partition(".")[0] for name in found}


ASKED_FOR = Options(
    weights_dir=container.WEIGHTS_DIR,
    adapters_dir=container.ADAPTERS_DIR,
    adapters=("a",),
    config_file=container.CONFIG_FILE,
    performance_mode="throughput",
    load_format="runai_streamer",
    distributed_executor="mp",
)
A10 = GPU(count=1, model="NVIDIA A10", memory_gib=24.0)


@pytest.mark.parametrize("options", [Options(), ASKED_FOR], ids=["little", "much"])
@pytest.mark.parametrize("name", catalog.load().names())
def test_vllm_knows_every_flag(name: str, options: Options) -> None:
    """Of 0.32.0, which the images are locked to."""
    model = preset(name)
    flags = known("vllm-0.32.0")
    for gpu, nodes in ((H100, None), (A10, 32)):
        try:
            fit = estimate.fit(model, gpu, memory_gib=900, cpus=96, nodes=nodes)
        except estimate.DoesNotFitError:
            continue
        _, rest = vllm_arguments.own(vllm.argv(model, fit, options))
        ranks = ["--node-rank=1", "--master-addr=x", "--headless"]
        assert names([*rest, *ranks]) <= flags


@pytest.mark.parametrize("name", catalog.load().names())
def test_tgi_knows_every_flag(name: str) -> None:
    model = preset(name)
    assert tgi.VERSION.startswith("3.3.")
    if registry.refusal(model, "tgi"):
        return
    try:
        fit = estimate.fit(model, H100, memory_gib=900, cpus=96, engine="tgi")
    except estimate.DoesNotFitError:
        return
    for options in (Options(), ASKED_FOR):
        assert names(tgi.argv(model, fit, options)) <= known("tgi-3.3")


@pytest.mark.parametrize("name", catalog.load().names())
def test_transformers_understands_every_preset(name: str) -> None:
    model = preset(name)
    if registry.refusal(model, "transformers"):
        return
    try:
        fit = estimate.fit(model, H100, memory_gib=900, cpus=96, engine="transformers")
    except estimate.DoesNotFitError:
        return
    for options in (EVERYTHING, replace(EVERYTHING, runtime_adapters=True, weights_dir="")):
        found = transformers_arguments.parse(transformers.argv(model, fit, options))
        assert (found.served_name, found.port, found.max_model_len) == ("mine", 5001, 4096)
        assert found.remote == (not options.weights_dir)
        assert found.runtime_adapters == options.runtime_adapters
        assert found.rate_limit is False
        assert not found.loader


def test_the_flags_of_kaitos_server_are_understood() -> None:
    """As its own controller writes them."""
    values = {"pipeline": "conversational", "torch_dtype": "auto", "force_download": "False"}
    names = {name.removeprefix("--") for name in known("transformers-kaito-0.12")}
    words = [f"--{name}={values.get(name, 'True')}" for name in sorted(names)]
    found = transformers_arguments.parse([*words, "--load_in_4bit", "true"])
    assert (found.remote, found.trust_remote_code, found.force_download) == (True, True, False)
    assert found.loader == {"load_in_4bit": True}


@pytest.mark.parametrize("count", [1, 4])
def test_llamacpp_on_gpus_understands_what_the_preset_says(count: int) -> None:
    model = preset(GEMMA)
    gpu = GPU(count=count, model="NVIDIA A10", memory_gib=24.0 * count)
    fit = estimate.fit(model, gpu, memory_gib=64, cpus=16, engine="llamacpp")
    found = llamacpp_arguments.parse(llamacpp.argv(model, fit, EVERYTHING))
    assert (found.gpu_layers, found.split_mode) == (19, "layer" if count > 1 else "none")


def test_owned_options_of_vllm_are_flags_that_it_has() -> None:
    """A rule on a flag that vLLM does not know protects nothing."""
    flags = {name.removeprefix("--") for name in known("vllm-0.32.0")}
    assert set(engineoptions.owned("vllm")) - flags == {"model-tag"}
    tgi_flags = {name.removeprefix("--") for name in known("tgi-3.3")}
    assert set(engineoptions.owned("tgi")) <= tgi_flags
