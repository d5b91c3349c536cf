"""Nodes without GPUs: everything lies in RAM."""

from __future__ import annotations

import pytest
from preset_models import NO_GPU, a_llama, a_model

from presets import catalog, estimate
from presets.estimate import DoesNotFitError, Fit

GEMMA = catalog.load().get("gemma-3-270m")


@pytest.mark.parametrize("estimator", estimate.ESTIMATORS)
def test_a_model_with_a_gguf_file_runs_on_llamacpp(estimator: estimate.Estimator) -> None:
    fit = estimate.fit(GEMMA, NO_GPU, memory_gib=6, cpus=2, estimator=estimator)
    assert fit.engine == "llamacpp"
    assert (fit.nodes, fit.gpus_per_node, fit.tensor_parallel) == (1, 0, 1)
    assert fit.max_model_len == 8192
    # 0.24 GiB of file, 0.5 of logits, 0.3 of engine, 0.14 of cache.
    assert fit.memory_gib == pytest.approx(1.18, abs=0.01)
    assert fit.cpu == 1.5


def test_vllm_doubles_the_weights() -> None:
    fit = estimate.fit(GEMMA, NO_GPU, memory_gib=6, cpus=4, engine="vllm")
    assert fit.engine == "vllm"
    assert fit.dtype == "float32"
    assert fit.kv_cache_gib == 1
    # 2 x 0.5 GiB of weights, 1 of cache, 2 of processes: what a 4 GiB pod was seen to hold. And
    # room for adapters.
    assert fit.memory_gib == pytest.approx(4.02 + 0.05, abs=0.02)


def test_vllm_without_a_gguf_file() -> None:
    assert estimate.fit(a_llama(4), NO_GPU, memory_gib=16, cpus=4).engine == "vllm"


@pytest.mark.parametrize(
    ("cpus", "requested"),
    [pytest.param(0, 0, id="not known"), pytest.param(0.5, 0.25, id="half"), (4, 3.5), (2, 1.5)],
)
def test_cores_are_left_to_the_system(cpus: float, requested: float) -> None:
    assert estimate.fit(GEMMA, NO_GPU, memory_gib=6, cpus=cpus).cpu == requested


def test_unknown_ram_is_not_checked_but_requested() -> None:
    fit = estimate.fit(GEMMA, NO_GPU)
    assert fit.memory_gib > 1


@pytest.mark.parametrize(
    ("context", "served"),
    [pytest.param(None, 2048, id="shrunk when nobody asked"), pytest.param(4096, 4096, id="kept")],
)
def test_context_and_ram(context: int | None, served: int) -> None:
    # 2 x 4 GiB of weights, 2 of processes, and 1, 2 or 4 GiB of cache in float32.
    model = a_llama(4, parameters=2.1)
    fit: Fit = estimate.fit(model, NO_GPU, memory_gib=13, max_model_len=context)
    assert fit.max_model_len == served


@pytest.mark.parametrize(
    ("model", "options", "complaint"),
    [
        pytest.param(
            a_llama(14.96, name="llama"), {"memory_gib": 12},
            r"llama on vllm needs 3\d\.\d GiB of RAM .*10\.9 GiB to give of its 12 GiB: use an",
            id="too large",
        ),
        pytest.param(
            a_llama(4, parameters=2.1), {"memory_gib": 13, "max_model_len": 65536},
            "or a smaller max_model_len", id="context too long",
        ),
        pytest.param(a_model(4, 1), {"engine": "llamacpp"}, "no GGUF file.*vllm", id="no GGUF"),
        pytest.param(
            a_model(4, 1, quantization="fp8"), {}, "fp8 weights.*only runs on GPUs", id="quantised"
        ),
    ],
)  # fmt: skip
def test_refusals(model: object, options: dict[str, object], complaint: str) -> None:
    with pytest.raises(DoesNotFitError, match=complaint):
        estimate.fit(model, NO_GPU, **options)  # type: ignore[arg-type]


def test_several_nodes_are_of_no_use() -> None:
    assert estimate.fit(GEMMA, NO_GPU, memory_gib=6, nodes=3).nodes == 1
