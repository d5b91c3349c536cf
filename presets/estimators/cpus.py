"""Our estimate for nodes without GPUs: weights, cache and engine must lie in one node's RAM.

KAITO has no such nodes. The constants were measured with Gemma 3 270M.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from presets.estimators import adapters
from presets.fits import DEFAULT_CONTEXT, DoesNotFitError, Engine, Fit
from presets.model import GIB, Model, kv_bytes

CPU_CONTEXT = 8192
"""Tokens at most where nobody asked for more: a CPU reads a longer prompt for minutes."""
KV_CACHE_GIB = 1
"""vLLM's cache on a CPU where the context asks for no more; whole GiB, as its setting is."""
NODE_RESERVE_GIB = 0.5
NODE_RESERVE_SHARE = 0.05
"""What kubelet, its reserves and the agents of every node leave to nobody."""
NODE_RESERVE_CPUS = 0.5

_GPU_ONLY = ("tgi",)
_FLOAT32 = ("vllm", "transformers")
"""bfloat16 kernels are not to be had on every CPU."""
_VLLM_BASE_GIB = 2.0
_LLAMACPP_BASE_GIB = 0.3
_TRANSFORMERS_BASE_GIB = 1.4
_TRANSFORMERS_CACHE_SHARE = 0.6
"""Of the memory beside the weights: a step copies the cache, and the image leaves room for it."""
_MICRO_BATCH = 512
_WEIGHT_EXPANSION = 1.02


@dataclass(frozen=True, slots=True)
class _Need:
    engine: Engine
    weights: float
    kv_cache: float
    base: float

    @property
    def total(self) -> float:
        return self.weights + self.kv_cache + self.base


def fit(
    model: Model,
    memory_gib: float,
    cpus: float,
    context: int | None,
    *,
    nodes: int | None,
    engine: Engine | None,
) -> Fit:
    """One node serves alone; engines cannot cut a model over the RAM of several."""
    if engine in _GPU_ONLY:
        raise DoesNotFitError(
            f"{engine} runs on GPUs alone: use an instance type with GPUs, or the vllm runtime"
        )
    chosen: Engine = engine or ("llamacpp" if model.gguf_file else "vllm")
    served = context or min(model.max_model_len, CPU_CONTEXT)
    budget = memory_gib * (1 - NODE_RESERVE_SHARE) - NODE_RESERVE_GIB if memory_gib else math.inf
    needed = _need(model, chosen, served)
    if context is None and needed.total > budget:
        served = min(served, DEFAULT_CONTEXT)
        needed = _need(model, chosen, served)
    if needed.total > budget:
        raise DoesNotFitError(
            f"{model.name} on {chosen} needs {needed.total:.1f} GiB of RAM (weights "
            f"{needed.weights:.1f}, KV cache of {served} tokens {needed.kv_cache:.1f}, engine "
            f"{needed.base:.1f}), but the node has {max(budget, 0):.1f} GiB to give of its "
            f"{memory_gib:g} GiB: use an instance type with more RAM"
            + (", or a smaller max_model_len" if served > DEFAULT_CONTEXT else "")
        )
    return Fit(
        nodes=1,
        gpus_per_node=0,
        max_model_len=served,
        memory_gib=math.ceil(needed.total * 100) / 100,
        cpu=max(cpus - NODE_RESERVE_CPUS, cpus / 2),
        engine=chosen,
        dtype="float32" if chosen in _FLOAT32 else "auto",
        kv_cache_gib=round(needed.kv_cache, 2),
    )


def _need(model: Model, engine: Engine, context: int) -> _Need:
    if engine == "llamacpp":
        return _llamacpp(model, context)
    if engine == "transformers":
        return _transformers(model, context)
    return _vllm(model, context)


def _llamacpp(model: Model, context: int) -> _Need:
    """The GGUF file as it is, 16-bit keys and values, and logits of one micro batch."""
    if not model.gguf_file:
        raise DoesNotFitError(
            f"{model.name} has no GGUF file that llama.cpp could load: use the vllm runtime"
        )
    logits = model.vocab_size * _MICRO_BATCH * 4 / GIB
    return _Need(
        engine="llamacpp",
        weights=model.gguf_bytes / GIB,
        kv_cache=_cache_gib(model, context, value_bytes=2),
        base=_LLAMACPP_BASE_GIB + logits,
    )


def _vllm(model: Model, context: int) -> _Need:
    """Four bytes a weight: bfloat16 kernels are not to be had on every CPU."""
    if model.quantization:
        raise DoesNotFitError(
            f"{model.name} has {model.quantization} weights, which vLLM only runs on GPUs: use an "
            "instance type with GPUs"
        )
    cache = _cache_gib(model, context, value_bytes=4)
    return _Need(
        engine="vllm",
        weights=model.parameter_count * 4 * _WEIGHT_EXPANSION / GIB,
        kv_cache=max(KV_CACHE_GIB, math.ceil(cache)),
        base=_VLLM_BASE_GIB + adapters.room_gib(model, value_bytes=4),
    )


def _transformers(model: Model, context: int) -> _Need:
    """Weights, keys and values of four bytes each, as long as the context is."""
    if model.quantization:
        raise DoesNotFitError(
            f"{model.name} has {model.quantization} weights, which transformers only runs on GPUs:"
            " use an instance type with GPUs"
        )
    return _Need(
        engine="transformers",
        weights=model.parameter_count * 4 * _WEIGHT_EXPANSION / GIB,
        kv_cache=_cache_gib(model, context, value_bytes=4) / _TRANSFORMERS_CACHE_SHARE,
        base=_TRANSFORMERS_BASE_GIB + adapters.room_gib(model, value_bytes=4),
    )


def _cache_gib(model: Model, context: int, *, value_bytes: int) -> float:
    """Every layer in full: neither engine saves the sliding ones reliably on a CPU."""
    known = kv_bytes(model, layers=model.layers, value_bytes=value_bytes)
    upstream = model.upstream_kv_bytes_per_token * value_bytes / 2
    return (known or upstream) * context / GIB
