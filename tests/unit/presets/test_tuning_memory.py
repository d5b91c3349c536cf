"""Whether a tuning fits on a node, and which numbers say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from apis.gpu import GPU, NO_GPU
from presets import catalog, tuning
from presets.fits import DoesNotFitError
from presets.model import GIB
from presets.tuning import NotTunableError, Recipe

A10 = GPU(1, "NVIDIA-A10", 24.0, "8.6")
A100 = GPU(1, "NVIDIA-A100-80GB", 80.0, "8.0")
MISTRAL = msgspec.structs.replace(catalog.load().get("mistral-7b-instruct"), vocab_size=32768)
GEMMA = catalog.load().get("gemma-3-270m")


@pytest.mark.parametrize(
    ("recipe", "gpu", "fits"),
    [
        pytest.param(Recipe(), A10, True, id="LoRA of 7B on 24 GiB"),
        pytest.param(Recipe(checkpointing=False, batch=8), A10, False, id="large batches"),
        pytest.param(
            Recipe(method="qlora", load_in="4bit", batch=4), A10, True, id="QLoRA, larger batches"
        ),
        pytest.param(Recipe(method="full"), A10, False, id="all weights"),
        pytest.param(Recipe(method="full"), A100, True, id="all weights in bfloat16 on 80 GiB"),
        pytest.param(
            Recipe(method="full", dtype="float32"), A100, False, id="all weights in float32"
        ),
        pytest.param(
            Recipe(method="full", dtype="float32", state_bytes=2.0), A100, True, id="8-bit states"
        ),
    ],
)
def test_seven_thousand_million_parameters(recipe: Recipe, gpu: GPU, fits: bool):
    if fits:
        found = tuning.fit(MISTRAL, recipe, gpu, memory_gib=64, cpus=8)
        assert (found.nodes, found.gpus_per_node) == (1, 1)
        assert 0 < found.gpu_memory_gib <= gpu.memory_gib
        return
    with pytest.raises(DoesNotFitError, match=r"needs \d+\.\d GiB of each NVIDIA"):
        tuning.fit(MISTRAL, recipe, gpu)


def test_every_gpu_holds_the_whole_model():
    with pytest.raises(DoesNotFitError):
        tuning.fit(MISTRAL, Recipe(method="full"), replace(A10, count=8))
    assert tuning.fit(MISTRAL, Recipe(), replace(A10, count=8)).data_parallel == 8


def test_a_small_model_is_tuned_on_a_small_cpu_node():
    found = tuning.fit(GEMMA, Recipe(batch=4, length=64), NO_GPU, memory_gib=12, cpus=4)
    assert (found.dtype, found.gpus_per_node) == ("float32", 0)
    assert 2 < found.memory_gib < 8
    with pytest.raises(DoesNotFitError, match=r"the node has \d\.\d GiB to give of its 2 GiB"):
        tuning.fit(GEMMA, Recipe(batch=4, length=64), NO_GPU, memory_gib=2)


def test_who_does_not_know_the_node_refuses_nothing():
    tuning.fit(MISTRAL, Recipe(method="full"), GPU(1))
    tuning.fit(MISTRAL, Recipe(method="full"), NO_GPU)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        pytest.param({"batch": 2}, "logits", id="batch: logits"),
        pytest.param({"batch": 2}, "activations", id="batch: activations"),
        pytest.param({"length": 2048}, "activations", id="length"),
        pytest.param({"checkpointing": False}, "activations", id="no checkpointing"),
        pytest.param({"rank": 64}, "trained", id="rank"),
        pytest.param({"dtype": "float32"}, "weights", id="dtype"),
        pytest.param({"method": "full"}, "trained", id="full"),
    ],
)
def test_what_costs_more(change: dict[str, Any], part: str):
    least = tuning.footprint(MISTRAL, Recipe(), on_gpu=True)
    more = tuning.footprint(MISTRAL, replace(Recipe(), **change), on_gpu=True)
    assert getattr(more, part) > getattr(least, part)


def test_parts_are_what_a_pencil_says():
    parameters = MISTRAL.parameter_count
    full = tuning.footprint(MISTRAL, Recipe(method="full"), on_gpu=True)
    assert full.weights * GIB == pytest.approx(2 * parameters, rel=0.01)
    assert full.trained * GIB == pytest.approx(6 * parameters, rel=0.01)
    lora = tuning.footprint(MISTRAL, Recipe(rank=8), on_gpu=True)
    # 32 layers; q and o 4096 to 4096, k and v 4096 to 1024, three of 4096 to 14336
    trained = 8 * 32 * (4 * 4096 + 2 * 4096 + 2 * 1024 + 3 * (4096 + 14336))
    assert lora.trained * GIB == pytest.approx(16 * trained, rel=0.02)
    logits = 1024 * MISTRAL.vocab_size * 10
    assert lora.logits * GIB == pytest.approx(logits)


@pytest.mark.parametrize(
    ("change", "method", "words"),
    [
        pytest.param({"runtimes": ("llamacpp",)}, "lora", "with safetensors", id="GGUF alone"),
        pytest.param({"quantization": "fp8"}, "qlora", "in bfloat16", id="quantised"),
        pytest.param({"quantization": "bitsandbytes"}, "full", "in bfloat16", id="all, in 4 bits"),
    ],
)
def test_what_no_machine_can_tune(change: dict[str, Any], method: Any, words: str):
    model = msgspec.structs.replace(MISTRAL, **change)
    with pytest.raises(NotTunableError, match=words):
        tuning.fit(model, Recipe(method=method), A100)


def test_all_that_the_catalogue_has_whole_can_be_tuned_somewhere():
    """KAITO knows ten."""
    huge = GPU(1, "imaginary", 100_000.0)
    tunable = [model for model in catalog.load() if not model.quantization]
    assert len(tunable) > 40
    for model in tunable:
        assert tuning.fit(model, Recipe(), huge).gpu_memory_gib > model.weights_bytes / GIB


def test_who_does_not_know_the_vocabulary_reckons_with_a_large_one():
    unknown = msgspec.structs.replace(MISTRAL, vocab_size=0)
    more = tuning.footprint(unknown, Recipe(), on_gpu=True)
    assert more.logits == 4 * tuning.footprint(MISTRAL, Recipe(), on_gpu=True).logits


def test_default_modules_of_phi_3_alone():
    known = catalog.load()
    assert tuning.target_modules(known.get("phi-3-mini-4k-instruct")).startswith("k_proj,q_proj")
    assert tuning.target_modules(MISTRAL) == ""


def test_weights_in_mistrals_format_alone_cannot_be_tuned():
    alone = msgspec.structs.replace(MISTRAL, runtimes=("vllm",))
    with pytest.raises(NotTunableError, match="in the format of mistral alone"):
        tuning.refuse(alone, "lora")
    tuning.refuse(MISTRAL, "lora")
