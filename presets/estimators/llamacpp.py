"""Our estimate for llama.cpp on a node with GPUs: its layers are dealt out over all of them.

Not measured, unlike the others: the constants are on the safe side.
"""

from __future__ import annotations

import math

from presets.estimators import gpus
from presets.fits import DEFAULT_CONTEXT, DoesNotFitError, Fit
from presets.model import GIB, Model, kv_bytes

BASE_GIB = 1.0
"""CUDA context and buffers of each GPU."""
_MICRO_BATCH = 512
_HOST_GIB = 2.0
"""The server itself; the file only passes through the page cache."""


def fit(model: Model, node: gpus.Node, context: int | None) -> Fit:
    """One node serves alone: llama.cpp's layers do not leave it."""
    if not model.gguf_file:
        raise DoesNotFitError(
            f"{model.name} has no GGUF file that llama.cpp could load: use the vllm runtime"
        )
    count = node.gpu.count
    budget = gpus.SHARE * gpus.reported_gib(node.gpu, node.mig_profile)
    logits = model.vocab_size * _MICRO_BATCH * 4 / GIB
    stage = math.ceil(model.layers / count) / model.layers if model.layers else 1.0
    fixed = model.gguf_bytes / GIB * stage + BASE_GIB + logits
    per_token = _cache_of_a_token(model) * stage / GIB
    wanted = context or min(DEFAULT_CONTEXT, model.max_model_len)
    if fixed + per_token * wanted > budget:
        raise DoesNotFitError(
            f"{model.name} on llamacpp needs {fixed + per_token * wanted:.1f} GiB on each of "
            f"{count} GPU(s) (of its file {model.gguf_bytes / GIB * stage:.1f}, KV cache of "
            f"{wanted} tokens {per_token * wanted:.1f}), but has {budget:.1f}: use an instance "
            "type with more or larger GPUs, or a file with fewer bits"
        )
    room = gpus.CONTEXT_MARGIN * (budget - fixed)
    longest = min(model.max_model_len, int(room / per_token) if per_token else wanted)
    served = context or max(wanted, longest if longest == model.max_model_len else _whole(longest))
    return Fit(
        nodes=1,
        gpus_per_node=count,
        max_model_len=served,
        memory_gib=round(min(_HOST_GIB, 0.8 * node.memory_gib), 2),
        cpu=round(min(1 + count, 0.8 * node.cpus), 2),
        engine="llamacpp",
        gpu_memory_gib=round(fixed + per_token * served, 2),
        kv_cache_gib=round(budget - fixed, 2),
        shared_gpu=bool(node.mig_profile),
    )


def _cache_of_a_token(model: Model) -> float:
    """Two bytes a value; every layer in full, as on a CPU."""
    known = kv_bytes(model, layers=model.layers, value_bytes=2)
    return known or model.upstream_kv_bytes_per_token


def _whole(tokens: int) -> int:
    return tokens // 256 * 256
