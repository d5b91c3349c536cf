"""Weights and cache that the engine is told to keep smaller than they are stored."""

from __future__ import annotations

import pytest
from preset_models import A10, A10_X2, NO_GPU, a_llama

from apis.gpu import GPU
from presets import estimate
from presets.estimate import DoesNotFitError
from presets.loading import as_loaded
from presets.model import GIB

LLAMA_70B = a_llama(131.42, layers=80, heads=64, hidden_size=8192, vocab_size=128256)


@pytest.mark.parametrize(
    ("load_in", "gib"),
    [
        # Embedding and output stay whole: 3.9 GiB; the rest takes 9 of 32, or 33 of 64 parts.
        pytest.param("4bit", 3.91 + (131.42 - 3.91) * 9 / 32, id="4bit"),
        pytest.param("8bit", 3.91 + (131.42 - 3.91) * 33 / 64, id="8bit"),
    ],
)
def test_weights(load_in: str, gib: float) -> None:
    loaded = as_loaded(LLAMA_70B, load_in="4bit" if load_in == "4bit" else "8bit")
    assert loaded.weights_bytes / GIB == pytest.approx(gib, abs=0.02)
    assert loaded.parameter_count == LLAMA_70B.parameter_count


def test_a_tenth_stays_whole_where_nobody_knows() -> None:
    loaded = as_loaded(a_llama(10), load_in="4bit")
    assert loaded.weights_bytes / GIB == pytest.approx(1 + 9 * 9 / 32, abs=0.01)


def test_what_is_quantised_already_cannot_be_once_more() -> None:
    with pytest.raises(DoesNotFitError, match="has awq weights, which cannot be loaded in 8bit"):
        as_loaded(a_llama(quantization="awq"), load_in="8bit")


def test_fewer_bits_need_fewer_gpus() -> None:
    gpu = GPU(1, "NVIDIA A100", 80, "8.0")
    assert estimate.fit(LLAMA_70B, gpu).nodes == 3
    assert estimate.fit(LLAMA_70B, gpu, load_in="4bit").nodes == 1


def test_an_old_gpu_still_gets_float16() -> None:
    t4 = GPU(1, "NVIDIA T4", 16, "7.5")
    assert estimate.fit(a_llama(), t4, load_in="4bit").dtype == "float16"


def test_a_cpu_loads_no_such_weights() -> None:
    with pytest.raises(DoesNotFitError, match="bitsandbytes weights"):
        estimate.fit(a_llama(), NO_GPU, memory_gib=64, load_in="4bit")


@pytest.mark.parametrize(
    ("own", "asked", "per_token"),
    [
        pytest.param("bfloat16", "fp8", 65536, id="halved"),
        pytest.param("bfloat16", "fp8_e5m2", 65536, id="either kind of fp8"),
        pytest.param("bfloat16", "bfloat16", 131072, id="as it is"),
        pytest.param("fp8", "bfloat16", 131072, id="doubled"),
    ],
)
def test_cache(own: str, asked: str, per_token: int) -> None:
    model = a_llama(kv_dtype=own, kv_bytes_per_token=131072 if own == "bfloat16" else 65536)
    loaded = as_loaded(model, kv_cache_dtype=asked)
    assert loaded.kv_bytes_per_token == per_token


def test_a_cache_of_one_byte_serves_twice_as_much() -> None:
    whole = estimate.fit(a_llama(), A10)
    halved = estimate.fit(a_llama(), A10, kv_cache_dtype="fp8")
    assert whole.max_model_len is not None
    assert halved.max_model_len is not None
    assert halved.max_model_len == pytest.approx(2 * whole.max_model_len, abs=512)


def test_llamacpp_loads_what_the_file_has() -> None:
    model = a_llama(4, gguf_file="m.gguf", gguf_bytes=4 * GIB)
    alone = estimate.fit(model, A10_X2, engine="llamacpp")
    assert alone == estimate.fit(model, A10_X2, engine="llamacpp", load_in="4bit")
