"""The estimator "fit" on nodes with GPUs: where it decides otherwise than KAITO, and what holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from preset_models import (
    A10,
    A100,
    A100_X2,
    A100_X4,
    H200_X8,
    L4_X4,
    L4_X8,
    a_llama,
    a_model,
)

from apis.gpu import GPU
from presets import catalog, estimate
from presets.estimate import DoesNotFitError, Fit
from presets.estimators import gpus, layouts
from presets.model import GIB, Model


def fit_of(preset: str, gpu: GPU, **options: Any) -> Fit:
    return estimate.fit(catalog.load().get(preset), gpu, **options)


def layout_of(fit: Fit) -> tuple[int, ...]:
    return (fit.nodes, fit.tensor_parallel, fit.pipeline_parallel, fit.data_parallel)


@pytest.mark.parametrize(
    ("preset", "gpu", "context", "layout"),
    [
        pytest.param("phi-4-mini-instruct", A10, None, (1, 1, 1, 1), id="one small GPU"),
        pytest.param("llama-3.1-8b-instruct", A100_X4, None, (1, 1, 1, 4), id="a replica a GPU"),
        pytest.param("falcon-7b", A100_X4, None, (1, 1, 1, 4), id="71 heads: no slices"),
        pytest.param("falcon-7b", L4_X4, None, (1, 1, 1, 4), id="71 heads: replicas though tight"),
        pytest.param(
            "phi-4", L4_X4, None, (1, 2, 1, 2), id="10 KV heads: two slices, two replicas"
        ),
        pytest.param("phi-4", L4_X8, None, (1, 2, 1, 4), id="no GPU idle: not five slices"),
        pytest.param("granite-4.1-8b", A10, None, (1, 1, 1, 1), id="borderline on one card"),
        pytest.param("gemma-4-12b-it", A10, None, (2, 1, 2, 1), id="layers not known"),
        pytest.param(
            "qwen2.5-coder-7b-instruct", L4_X8, None, (1, 2, 1, 4), id="28 heads on 8: roomy slices"
        ),
        pytest.param("llama-3.3-70b-instruct", A100_X2, None, (2, 2, 2, 1), id="two nodes"),
        pytest.param("gpt-oss-20b", A10, None, (1, 1, 1, 1), id="weights counted once"),
        pytest.param("gpt-oss-120b", A100, None, (1, 1, 1, 1), id="large, counted once"),
        pytest.param("gpt-oss-20b", A100_X4, None, (1, 4, 1, 1), id="experts: no replicas"),
        pytest.param("deepseek-r1-0528", H200_X8, None, (1, 8, 1, 1), id="latent attention"),
        pytest.param("minimax-m2.7", A100_X4, None, (1, 4, 1, 1), id="minimax"),
        pytest.param("llama-3.1-8b-instruct", A10, 131072, (2, 1, 2, 1), id="cache over all nodes"),
    ],
)
def test_layout(preset: str, gpu: GPU, context: int | None, layout: tuple[int, ...]) -> None:
    assert layout_of(fit_of(preset, gpu, max_model_len=context)) == layout


def test_a_pipeline_inside_a_node_when_slices_alone_cannot_hold_it() -> None:
    # Seven heads cut only into seven slices; four GPUs hold four stages instead.
    fit = estimate.fit(a_llama(40, heads=7, kv_heads=7), L4_X4)
    assert layout_of(fit) == (1, 1, 4, 1)
    assert fit.gpus_per_node == 4


def test_gpus_that_no_layout_can_use_are_not_asked_for() -> None:
    fit = estimate.fit(a_llama(100, heads=5, kv_heads=5), GPU(8, "NVIDIA H100", 80))
    assert (fit.tensor_parallel, fit.data_parallel) == (5, 1)
    assert fit.gpus_per_node == 5


@pytest.mark.parametrize(
    ("gpu", "reported"),
    [
        pytest.param(GPU(1, "NVIDIA A10", 24), 22.0, id="A10"),
        pytest.param(GPU(1, "NVIDIA-A10G", 24), 22.0, id="A10G by label"),
        pytest.param(GPU(1, "NVIDIA-L40S", 48), 44.3, id="L40S"),
        pytest.param(GPU(1, "NVIDIA A10", 12), 11.82, id="half an A10"),
        pytest.param(GPU(1, "NVIDIA A100", 80), 78.8, id="A100: error correction is apart"),
        pytest.param(GPU(1, "", 80), 78.8, id="nameless"),
    ],
)
def test_memory_that_a_card_reports(gpu: GPU, reported: float) -> None:
    assert gpus.reported_gib(gpu) == pytest.approx(reported)


def test_plan_and_flag_share_one_number() -> None:
    """A model that just fills the plan's budget gets exactly that share as its flag."""
    budget = gpus.SHARE * gpus.reported_gib(A10)
    weights = (budget - gpus.BASE_OVERHEAD_GIB) / (1 + gpus.WEIGHT_OVERHEAD)
    fits = a_llama(weights / gpus.WEIGHT_EXPANSION - 0.3)
    fit = estimate.fit(fits, A10)
    assert fit.nodes == 1
    assert fit.gpu_memory_utilization == gpus.SHARE
    assert estimate.fit(a_llama(weights / gpus.WEIGHT_EXPANSION), A10).nodes == 2


def test_an_exact_fit_takes_no_gpu_more() -> None:
    node = gpus.Node(A100)
    layout = layouts.Layout(1, 1, 1, 1)
    budget = gpus.SHARE * gpus.reported_gib(A100)
    model = a_llama(60)
    spare = budget - gpus.need(model, layout, 2048).total
    grown = replace_weights(model, 60 + spare / 1.02 / 1.05 - 1e-6)
    assert gpus.fit(grown, node, None, nodes=None).nodes == 1


def replace_weights(model: Model, gib: float) -> Model:
    return a_llama(gib, layers=model.layers, heads=model.heads)


@pytest.mark.parametrize(
    ("fields", "bytes_at_32768"),
    [
        pytest.param({}, 131072 * 32768, id="every layer, every token"),
        pytest.param(
            {"attention_layers": 8, "sliding_layers": 24, "sliding_window": 1024},
            4096 * (8 * 32768 + 24 * (1024 + gpus.BATCHED_TOKENS)),
            id="sliding windows",
        ),
        pytest.param(
            {"attention_layers": 8}, 4096 * (8 * 32768 + 24 * 2048), id="linear attention"
        ),
        pytest.param(
            {"kv_dtype": "fp8", "kv_bytes_per_token": 65536}, 65536 * 32768, id="fp8 cache"
        ),
    ],
)
def test_what_one_request_keeps(fields: dict[str, Any], bytes_at_32768: int) -> None:
    assert gpus.cache_bytes(a_llama(**fields), 32768) == bytes_at_32768


@pytest.mark.parametrize(
    ("fields", "tensor", "share"),
    [
        pytest.param({"kv_heads": 8}, 4, 1 / 4, id="heads dealt out"),
        pytest.param({"kv_heads": 2}, 8, 1 / 2, id="heads copied"),
        pytest.param({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, 8, 1.0, id="latent: in full"),
    ],
)
def test_what_a_gpu_keeps_of_it(fields: dict[str, Any], tensor: int, share: float) -> None:
    model = a_llama(**fields)
    need = gpus.need(model, layouts.Layout(1, tensor, 1, 1), 4096)
    assert need.kv_cache == pytest.approx(gpus.cache_bytes(model, 4096) * share / GIB)


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        pytest.param({"heads": 32, "kv_heads": 8}, [1, 2, 4, 8], id="llama"),
        pytest.param({"heads": 28, "kv_heads": 4}, [1, 2, 4], id="qwen 7b: not 7"),
        pytest.param({"heads": 40, "kv_heads": 10}, [1, 2, 5], id="phi-4: not 4, not 8"),
        pytest.param({"heads": 71, "kv_heads": 1}, [1], id="falcon-7b"),
        pytest.param({"heads": 32, "kv_heads": 2}, [1, 2, 4, 8], id="KV heads copied"),
        pytest.param({"heads": 0, "kv_heads": 1}, [1, 2, 4, 8], id="unknown heads"),
        pytest.param({"heads": 0, "kv_heads": 2}, [1, 2, 4, 8], id="unknown heads, two KV heads"),
    ],
)
def test_slices_that_vllm_accepts(fields: dict[str, int], sizes: list[int]) -> None:
    assert layouts.tensor_sizes(a_llama(**fields), 8) == sizes


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        pytest.param(4096, 4096, id="as asked"),
        pytest.param(None, 53760, id="what fits"),
    ],
)
def test_the_promised_context(asked: int | None, served: int) -> None:
    assert fit_of("granite-4.1-8b", GPU(1, "x", 32), max_model_len=asked).max_model_len == served


def test_context_never_passes_the_models_own() -> None:
    assert fit_of("phi-4", A100).max_model_len == 16384


def test_a_context_that_the_model_has_not_is_refused() -> None:
    with pytest.raises(DoesNotFitError, match="handles at most 16384 tokens"):
        fit_of("phi-4", A100, max_model_len=20000)


def test_a_context_of_nothing_is_refused() -> None:
    with pytest.raises(DoesNotFitError, match="must be more than 0"):
        fit_of("phi-4", A100, max_model_len=0)


@pytest.mark.parametrize(
    ("gpu", "dtype"),
    [
        pytest.param(GPU(1, "NVIDIA T4", 16, "7.5"), "float16", id="before Ampere"),
        pytest.param(GPU(1, "NVIDIA A10", 24, "8.6"), "bfloat16", id="Ampere"),
        pytest.param(GPU(1, "NVIDIA B200", 180, "10.0"), "bfloat16", id="two digits"),
        pytest.param(GPU(1, "unknown", 24), "bfloat16", id="not known"),
    ],
)
def test_dtype_that_the_gpu_has(gpu: GPU, dtype: str) -> None:
    assert fit_of("phi-4-mini-instruct", gpu).dtype == dtype


def test_quantised_weights_load_as_they_are() -> None:
    assert fit_of("Qwen/Qwen3-8B-AWQ", A10).dtype == "auto"


@pytest.mark.parametrize(
    ("memory", "cpus", "wanted"),
    [
        pytest.param(440, 36, (6, 2), id="plenty"),
        pytest.param(5, 2, (4, 1.6), id="little"),
        pytest.param(0, 0, (0, 0), id="not known"),
    ],
)
def test_pod_requests(memory: float, cpus: float, wanted: tuple[float, float]) -> None:
    fit = fit_of("phi-4-mini-instruct", A10, memory_gib=memory, cpus=cpus)
    assert (fit.memory_gib, fit.cpu) == wanted


def test_every_expert_is_loaded_whether_it_works_or_not() -> None:
    layout = layouts.Layout(1, 4, 1, 1)
    experts = a_llama(60, moe=True, active_parameters=3)
    assert gpus.need(experts, layout, 0).weights == pytest.approx(60 * 1.02 / 4)


def test_a_slice_holds_one_copy_alone() -> None:
    fit = fit_of("phi-4-mini-instruct", GPU(7, "NVIDIA A100", 20), mig_profile="2g.20gb")
    assert layout_of(fit) == (1, 1, 1, 1)
    assert fit.gpus_per_node == 1
    assert fit.shared_gpu


def test_a_slice_that_is_too_small() -> None:
    with pytest.raises(DoesNotFitError, match=r"MIG slice 1g\.10gb.*8\.6 GiB of its 10 GiB.*large"):
        fit_of("llama-3.1-8b-instruct", GPU(1, "NVIDIA A100", 10), mig_profile="1g.10gb")


@pytest.mark.parametrize(
    ("nodes", "layout"),
    [pytest.param(1, (1, 1, 1, 4), id="one"), pytest.param(2, (2, 4, 2, 1), id="two")],
)
def test_a_settled_number_of_nodes_is_kept(nodes: int, layout: tuple[int, ...]) -> None:
    assert layout_of(fit_of("llama-3.1-8b-instruct", A100_X4, nodes=nodes)) == layout


def test_a_settled_number_that_is_too_small() -> None:
    with pytest.raises(DoesNotFitError, match="more or larger GPUs or more nodes"):
        fit_of("llama-3.3-70b-instruct", A100_X2, nodes=1)


def test_more_stages_than_layers() -> None:
    with pytest.raises(DoesNotFitError, match="has 2 layers and cannot be cut into 3 stages"):
        estimate.fit(a_llama(4, layers=2), A10, nodes=3)


def test_the_refusal_has_the_numbers_and_the_remedy() -> None:
    with pytest.raises(
        DoesNotFitError,
        match=r"deepseek-r1-0528 needs \d+\.\d GiB on each NVIDIA A2 \(weights .*, overhead 3.*, "
        r"KV cache of 2048 tokens .*\).* only has 13\.\d GiB of its 16 GiB: use an instance type",
    ):
        fit_of("deepseek-r1-0528", GPU(1, "NVIDIA A2", 16))


def test_unknown_gpu_memory_is_refused_with_what_to_do() -> None:
    with pytest.raises(DoesNotFitError, match=r"not known.*nvidia\.com/gpu\.memory"):
        fit_of("phi-4", GPU(1, "unknown", 0))


def test_llamacpp_deals_its_layers_out_over_all_gpus_of_a_node() -> None:
    model = a_llama(66, gguf_file="m-Q4_K_M.gguf", gguf_bytes=40 * GIB, runtimes=("llamacpp",))
    fit = estimate.fit(model, L4_X4, memory_gib=180, cpus=48)
    assert (fit.engine, fit.nodes, fit.gpus_per_node) == ("llamacpp", 1, 4)
    # A quarter of the file, the engine's GiB, and the cache of the whole context over four GPUs.
    assert fit.max_model_len == 131072
    assert fit.gpu_memory_gib == pytest.approx(10 + 1 + 4, abs=0.01)
    assert (fit.memory_gib, fit.cpu) == (2, 5)


def test_llamacpp_serves_the_context_that_is_left() -> None:
    model = a_llama(15, gguf_file="m.gguf", gguf_bytes=15 * GIB)
    fit = estimate.fit(model, A10, engine="llamacpp")
    assert fit.max_model_len is not None
    assert 2048 < fit.max_model_len < 131072
    assert fit.max_model_len % 256 == 0
    assert fit.gpu_memory_gib < gpus.SHARE * 22
    with pytest.raises(DoesNotFitError, match=r"KV cache of 131072 tokens.*fewer bits"):
        estimate.fit(model, A10, engine="llamacpp", max_model_len=131072)


def test_gguf_weights_alone_choose_their_engine() -> None:
    model = a_llama(4, gguf_file="m.gguf", gguf_bytes=4 * GIB, runtimes=("llamacpp",))
    assert estimate.fit(model, A10).engine == "llamacpp"
    with pytest.raises(DoesNotFitError, match="GGUF weights alone, which vllm does not load"):
        estimate.fit(model, A10, engine="vllm")


def test_llamacpp_on_a_gpu_needs_a_gguf_file() -> None:
    with pytest.raises(DoesNotFitError, match="no GGUF file"):
        estimate.fit(a_llama(), A10, engine="llamacpp")


MODELS = st.sampled_from(list(catalog.load()))
GPUS = st.builds(
    GPU,
    count=st.sampled_from([1, 2, 3, 4, 6, 8, 16]),
    model=st.sampled_from(["NVIDIA A10", "NVIDIA A100", "NVIDIA L4", ""]),
    memory_gib=st.sampled_from([8, 16, 24, 40, 80, 94, 141, 192]),
)


def nodes_or_none(model: Model, gpu: GPU, **options: Any) -> int | None:
    try:
        return estimate.fit(model, gpu, **options).nodes
    except DoesNotFitError:
        return None


@given(MODELS, GPUS, st.integers(1, 64))
def test_more_memory_never_needs_more_nodes(model: Model, gpu: GPU, more: int) -> None:
    before = nodes_or_none(model, gpu)
    assume(before is not None)
    after = nodes_or_none(model, replace(gpu, memory_gib=gpu.memory_gib + more))
    assert after is not None
    assert before is not None
    assert after <= before


@given(MODELS, GPUS, st.integers(1, 20))
def test_a_longer_context_never_needs_fewer_nodes(model: Model, gpu: GPU, half: int) -> None:
    short, long = model.max_model_len // (half + 1), model.max_model_len
    needed = nodes_or_none(model, gpu, max_model_len=long)
    assume(needed is not None)
    shorter = nodes_or_none(model, gpu, max_model_len=max(1, short))
    assert shorter is not None
    assert needed is not None
    assert shorter <= needed


@given(MODELS, GPUS)
def test_the_layout_is_one_that_vllm_runs(model: Model, gpu: GPU) -> None:
    try:
        fit = estimate.fit(model, gpu)
    except DoesNotFitError:
        assume(False)
    assert not model.heads or model.heads % fit.tensor_parallel == 0
    if model.kv_heads and not model.latent_attention:
        dealt = model.kv_heads % fit.tensor_parallel == 0
        copied = fit.tensor_parallel % model.kv_heads == 0
        assert dealt or copied
    assert not model.layers or fit.pipeline_parallel <= model.layers
    used = fit.tensor_parallel * fit.pipeline_parallel * fit.data_parallel
    assert used == fit.nodes * fit.gpus_per_node
    assert 0 < fit.gpus_per_node <= gpu.count
    assert fit.nodes == 1 or fit.data_parallel == 1


@given(MODELS, GPUS, st.sampled_from([None, 1024, 2048]))
def test_the_plan_never_passes_the_flags_share(model: Model, gpu: GPU, context: int | None) -> None:
    try:
        fit = estimate.fit(model, gpu, max_model_len=context)
    except DoesNotFitError:
        assume(False)
    assert fit.gpu_memory_gib <= fit.gpu_memory_utilization * gpus.reported_gib(gpu) + 0.01
    assert fit.gpu_memory_gib <= gpu.memory_gib
    assert fit.max_model_len is not None
    assert min(2048, model.max_model_len) <= fit.max_model_len <= model.max_model_len or context


@given(st.floats(0.5, 400), st.integers(0, 500_000), GPUS)
def test_a_model_of_unknown_inside_is_planned_too(weights: float, kv: int, gpu: GPU) -> None:
    try:
        fit = estimate.fit(a_model(weights, kv + 1), gpu)
    except DoesNotFitError:
        assume(False)
    assert fit.tensor_parallel & (fit.tensor_parallel - 1) == 0
