"""The estimator "kaito" gives upstream's numbers: its own tests' and its formula's."""

from __future__ import annotations

from typing import Any

import pytest
from preset_models import (
    A10,
    A10_X2,
    A100,
    A100_X2,
    A100_X4,
    H100_NVL,
    H200_X8,
    a_model,
)

from apis.gpu import GPU
from presets import catalog, estimate
from presets.estimate import DoesNotFitError
from presets.model import Model

BYO_4X80 = GPU(4, "NVIDIA-A100-SXM4-80GB", 80)
QWEN_32B = a_model(62.5, 163840)
FALCON_7B = a_model(13.44, 8192)


def kaito(model: Model, gpu: GPU, **options: Any) -> estimate.Fit:
    return estimate.fit(model, gpu, estimator="kaito", **options)


# The number is the row of the worked examples: nodes, tensor, pipeline, data parallel.
@pytest.mark.parametrize(
    ("model", "gpu", "options", "layout"),
    [
        pytest.param(a_model(8), A100_X4, {}, (1, 1, 1, 4), id="1 small on 4x80"),
        pytest.param(a_model(8), A10, {}, (1, 1, 1, 1), id="2 small on A10"),
        pytest.param(FALCON_7B, A10, {}, (1, 1, 1, 1), id="3 falcon-7b on A10"),
        pytest.param(QWEN_32B, A100, {}, (2, 1, 2, 1), id="5 qwen 32b on A100"),
        pytest.param(a_model(64), A100_X2, {}, (1, 2, 1, 1), id="8 64Gi on 2x80"),
        pytest.param(a_model(8), BYO_4X80, {}, (1, 1, 1, 4), id="9 bring your own 4x80"),
        pytest.param(a_model(8), A100_X4, {"nodes": 1}, (1, 1, 1, 4), id="14 data parallel"),
        pytest.param(a_model(64), A100_X4, {"nodes": 1}, (1, 4, 1, 1), id="15 tensor parallel"),
        pytest.param(a_model(8), A100_X4, {"nodes": 2}, (2, 4, 2, 1), id="17 two nodes forced"),
    ],
)
def test_upstreams_own_tests(
    model: Model, gpu: GPU, options: dict[str, Any], layout: tuple[int, ...]
) -> None:
    assert layout_of(kaito(model, gpu, **options)) == layout


@pytest.mark.parametrize(
    ("preset", "gpu", "context", "layout"),
    [
        pytest.param("microsoft/Phi-4-mini-instruct", A10, None, (1, 1, 1, 1), id="phi-4-mini"),
        pytest.param("microsoft/phi-4", A10_X2, None, (1, 2, 1, 1), id="phi-4"),
        pytest.param(
            "meta-llama/Llama-3.1-8B-Instruct", A10, 32768, (2, 1, 2, 1), id="llama-8b at 32k"
        ),
        pytest.param(
            "Qwen/Qwen2.5-Coder-32B-Instruct", H100_NVL, None, (1, 1, 1, 1), id="qwen 32b"
        ),
        pytest.param(
            "meta-llama/Llama-3.3-70B-Instruct", A100_X2, None, (2, 2, 2, 1), id="llama-70b"
        ),
        pytest.param("openai/gpt-oss-20b", A10, None, (2, 1, 2, 1), id="gpt-oss-20b"),
        pytest.param("deepseek-ai/DeepSeek-R1-0528", H200_X8, None, (1, 8, 1, 1), id="r1"),
        pytest.param("deepseek-ai/DeepSeek-V4-Pro", H200_X8, None, (1, 8, 1, 1), id="v4-pro"),
        pytest.param(
            "meta-llama/Llama-3.1-8B-Instruct", A10, 131072, (9, 1, 9, 1), id="W25: llama at 128k"
        ),
        pytest.param("openai/gpt-oss-120b", A100, None, (3, 1, 3, 1), id="W23: gpt-oss-120b"),
    ],
)
def test_catalogue_models(
    preset: str, gpu: GPU, context: int | None, layout: tuple[int, ...]
) -> None:
    assert layout_of(kaito(catalog.load().get(preset), gpu, max_model_len=context)) == layout


def layout_of(fit: estimate.Fit) -> tuple[int, ...]:
    return (fit.nodes, fit.tensor_parallel, fit.pipeline_parallel, fit.data_parallel)


def test_a_model_larger_than_the_slice_is_refused_with_the_numbers() -> None:
    with pytest.raises(DoesNotFitError, match=r"1g\.10gb only provides 10 GiB \(8\.4 GiB avail"):
        kaito(a_model(8), GPU(1, "NVIDIA A100", 10), mig_profile="1g.10gb")


def test_a_model_that_the_slice_holds() -> None:
    fit = kaito(a_model(8), GPU(7, "NVIDIA A100", 20), mig_profile="2g.20gb")
    assert layout_of(fit) == (1, 1, 1, 1)
    assert fit.gpus_per_node == 1
    assert fit.shared_gpu


def test_a_gpu_without_room_for_the_overhead_is_refused() -> None:
    with pytest.raises(DoesNotFitError, match=r"too small.*1\.7 GiB are available, 2\.3 GiB"):
        kaito(a_model(1), GPU(1, "tiny", 2))


@pytest.mark.parametrize(
    ("gpu", "flag"),
    [
        pytest.param(A10, 0.82, id="A10 by its exact name"),
        pytest.param(GPU(1, "NVIDIA-A10", 24), 0.84, id="A10 by its label"),
        pytest.param(A100, 0.84, id="any other"),
    ],
)
def test_the_flag_differs_from_the_plan_on_one_spelling(gpu: GPU, flag: float) -> None:
    assert kaito(a_model(8), gpu).gpu_memory_utilization == flag


@pytest.mark.parametrize(
    ("asked", "served"), [pytest.param(None, None, id="auto"), pytest.param(4096, 4096, id="asked")]
)
def test_context_is_left_to_the_engine_unless_asked_for(
    asked: int | None, served: int | None
) -> None:
    assert kaito(a_model(8), A10, max_model_len=asked).max_model_len == served


def test_an_exact_fit_takes_one_gpu_too_many() -> None:
    # (80 x 0.84 - 2.3) / 1.05 / 1.02 is what one GPU holds; half of it twice is exactly two.
    holds = (80 * 0.84 - 2.3) / 1.05
    assert kaito(a_model(2 * holds / 1.02 + 1e-6), A100).nodes == 3


def test_unknown_memory_is_one_node_or_as_many_as_asked() -> None:
    assert kaito(a_model(500), GPU(1, "unknown", 0)).nodes == 1
    assert kaito(a_model(500), GPU(1, "unknown", 0), nodes=3).nodes == 3


def test_quantised_weights_load_as_they_are() -> None:
    assert kaito(a_model(8, quantization="fp8"), A10).dtype == "auto"
    assert kaito(a_model(8), A10).dtype == "bfloat16"
