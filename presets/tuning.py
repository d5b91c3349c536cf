"""Whether a model can be fine-tuned on one node, and what that takes there. Pure.

Every GPU holds the whole model and works on batches of its own (data parallelism, as accelerate
does it), so one GPU must take all of it. A node without GPUs computes in float32, in its RAM.
docs/workspace/tuning.md has the formulas in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from apis.gpu import GPU
from presets.estimators import gpus as gpu_nodes
from presets.estimators.cpus import NODE_RESERVE_CPUS, NODE_RESERVE_GIB, NODE_RESERVE_SHARE
from presets.fits import DoesNotFitError, Fit
from presets.loading import BITSANDBYTES, LoadIn, as_loaded
from presets.model import DTYPE_BYTES, GIB, Model

Method = Literal["lora", "qlora", "full"]
METHODS: tuple[Method, ...] = ("lora", "qlora", "full")

DEFAULT_LENGTH = 1024
"""Tokens of an example where nobody says: TRL's SFTConfig.max_length."""

_ADAPTER_BYTES = 8
"""Of an adapter's weight, beside the optimiser's states: PEFT keeps it, and so its gradient, in
float32."""
_LAYER_VALUES = 34
"""What a layer keeps of one token for the way back, in bytes for each of its `hidden_size` 16-bit
values, where attention is computed in blocks: 15 around the attention and 19 of a feed-forward
network four times as wide (Korthikanti et al., Reducing Activation Recomputation, 2022, eq. 1)."""
_LAYER_VALUES_OF_FEED_FORWARD = 19
_LOGIT_BYTES = 8
"""Beside the logits themselves: their float32 copy and its gradient."""
_VOCABULARY = 131072
"""Where nobody says: that of most models since 2024; earlier ones have a quarter."""
_GPU_BASE_GIB = 1.0
"""CUDA's context, its libraries' workspaces."""
_CPU_BASE_GIB = 1.5
"""The interpreter with torch and transformers."""
_FRAGMENTED = 0.08
"""What allocators lose between blocks of different sizes."""
_HOST_GIB = (4.0, 2.0)
"""RAM of a pod on a GPU node: for itself, and for each GPU; weights only pass through."""

_PHI_3 = "k_proj,q_proj,v_proj,o_proj,gate_proj,down_proj,up_proj"


class NotTunableError(ValueError):
    """The weights cannot be tuned anywhere. The message says what to name instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What of a training configuration decides over memory. `batch` is that of one device;
    `state_bytes` are the optimiser's for each weight that is trained, None where they are two of
    the weight's own type; `dtype` is empty for the type that the weights are stored in."""

    method: Method = "lora"
    rank: int = 8
    batch: int = 1
    length: int = DEFAULT_LENGTH
    checkpointing: bool = True
    state_bytes: float | None = None
    load_in: LoadIn | None = None
    dtype: str = "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one device must hold, in GiB."""

    weights: float
    trained: float
    """Gradients and the optimiser's states; of an adapter its weights, too."""
    activations: float
    logits: float
    base: float

    @property
    def total(self) -> float:
        held = self.weights + self.trained + self.activations + self.logits
        return self.base + held * (1 + _FRAGMENTED)


def fit(
    model: Model, recipe: Recipe, gpu: GPU, *, memory_gib: float = 0.0, cpus: float = 0.0
) -> Fit:
    """How the training lies on one such node; NotTunableError, or DoesNotFitError with the
    numbers. `memory_gib` and `cpus` are the node's, 0 where nobody knows them."""
    refuse(model, recipe.method)
    needed = footprint(model, recipe, on_gpu=bool(gpu))
    if not gpu:
        budget = memory_gib * (1 - NODE_RESERVE_SHARE) - NODE_RESERVE_GIB
        if memory_gib and needed.total > budget:
            have = f"the node has {max(budget, 0):.1f} GiB to give of its {memory_gib:g} GiB"
            raise DoesNotFitError(_refusal(model, recipe, needed, "RAM", have, "more RAM"))
        return Fit(
            nodes=1,
            gpus_per_node=0,
            memory_gib=round(needed.total, 2),
            cpu=max(cpus - NODE_RESERVE_CPUS, cpus / 2),
            engine="transformers",
            dtype="float32",
        )
    reported = gpu_nodes.reported_gib(gpu)
    if gpu.memory_gib and needed.total > reported:
        have = f"one has {reported:.1f} GiB"
        what = f"each {gpu.model or 'GPU'}"
        raise DoesNotFitError(_refusal(model, recipe, needed, what, have, "larger GPUs"))
    own, of_each = _HOST_GIB
    wanted = own + of_each * gpu.count
    return Fit(
        nodes=1,
        gpus_per_node=gpu.count,
        data_parallel=gpu.count,
        memory_gib=round(min(wanted, 0.8 * memory_gib), 2) if memory_gib else 0.0,
        cpu=round(min(1 + gpu.count, 0.8 * cpus), 2),
        engine="transformers",
        dtype=recipe.dtype or model.dtype,
        gpu_memory_gib=round(needed.total, 2),
    )


def refuse(model: Model, method: Method) -> None:
    """Raises NotTunableError where no machine could help: the trainer reads safetensors, and
    computes gradients through weights that are whole, or that bitsandbytes has made small."""
    if model.runtimes == ("llamacpp",):
        raise NotTunableError(
            f"{model.name} has GGUF weights alone, which cannot be tuned: name the repository that"
            " they were made from, with safetensors"
        )
    if model.load_format and "transformers" not in model.runtimes:
        raise NotTunableError(
            f"{model.name} has weights in the format of {model.load_format} alone, which cannot be"
            " tuned: name a repository with safetensors of Hugging Face's layout"
        )
    if model.quantization and (model.quantization != BITSANDBYTES or method == "full"):
        raise NotTunableError(
            f"{model.name} has {model.quantization} weights, through which {method} computes no"
            " gradients: name the repository with the weights in bfloat16, and method qlora where"
            " memory is short"
        )


def footprint(model: Model, recipe: Recipe, *, on_gpu: bool) -> Footprint:
    """What one GPU holds, or without GPUs the RAM."""
    dtype = (recipe.dtype or model.dtype) if on_gpu else "float32"
    value = DTYPE_BYTES[dtype]
    small = None if model.quantization else recipe.load_in
    loaded = as_loaded(_in_dtype(model, dtype), load_in=small)
    tokens = recipe.batch * min(recipe.length, model.max_model_len)
    layer = _layer_bytes(model, value)
    kept = model.hidden_size * value if recipe.checkpointing else layer
    return Footprint(
        weights=loaded.weights_bytes / GIB,
        trained=_trained_bytes(model, recipe, value) / GIB,
        activations=tokens * (model.layers * kept + layer) / GIB,
        logits=tokens * (model.vocab_size or _VOCABULARY) * (value + _LOGIT_BYTES) / GIB,
        base=_GPU_BASE_GIB if on_gpu else _CPU_BASE_GIB,
    )


def target_modules(model: Model) -> str:
    """What LoRA changes where the user names nothing, as DEFAULT_TARGET_MODULES has it; empty
    leaves it to the trainer. Upstream's value for Phi-3."""
    names = (model.name, model.hf_id.rpartition("/")[2], *model.aliases)
    return _PHI_3 if any(each.lower().startswith("phi-3") for each in names) else ""


def _in_dtype(model: Model, dtype: str) -> Model:
    if model.quantization or model.dtype == dtype:
        return model
    size = round(model.parameter_count * DTYPE_BYTES[dtype])
    return msgspec.structs.replace(model, dtype=dtype, weights_bytes=size)


def _trained_bytes(model: Model, recipe: Recipe, value: int) -> float:
    """Of a full tuning, gradients and two states in the weights' own type: as torch's AdamW."""
    full = recipe.method == "full"
    usual = 2.0 * value if full else float(_ADAPTER_BYTES)
    states = usual if recipe.state_bytes is None else recipe.state_bytes
    if full:
        return model.parameter_count * (value + states)
    return _adapter_parameters(model, recipe.rank) * (_ADAPTER_BYTES + states)


def _adapter_parameters(model: Model, rank: int) -> float:
    """Two matrices beside every linear layer: of rank × what goes in, and rank × what comes out.
    Experts are not changed: they are one tensor, not layers."""
    hidden, heads, cached = _widths(model)
    ends = float(4 * hidden + 2 * heads + 2 * cached)
    if not model.moe:
        ends += 3 * (hidden + _feed_forward(model))
    return rank * model.layers * ends


def _layer_bytes(model: Model, value: int) -> float:
    """What one token leaves in one layer; the gated feed-forward has three matrices, not two."""
    wide = 1.5 * _feed_forward(model) / (4 * model.hidden_size) if model.hidden_size else 1.0
    around = _LAYER_VALUES - _LAYER_VALUES_OF_FEED_FORWARD
    return model.hidden_size * (around + _LAYER_VALUES_OF_FEED_FORWARD * wide) * value / 2


def _feed_forward(model: Model) -> float:
    """How wide a layer is inside, as far as its parameters tell: those of the token's own experts
    where it has experts; four times `hidden_size` where nobody knows."""
    hidden, heads, cached = _widths(model)
    known = model.active_parameters * 1e9 if model.moe else model.parameter_count
    if not (known and hidden and model.layers and model.vocab_size):
        return 4.0 * hidden
    attention = 2 * hidden * (heads + cached)
    return max(
        hidden, ((known - model.vocab_size * hidden) / model.layers - attention) / 3 / hidden
    )


def _widths(model: Model) -> tuple[int, int, int]:
    return model.hidden_size, model.heads * model.head_dim, model.kv_heads * model.head_dim


def _refusal(
    model: Model, recipe: Recipe, needed: Footprint, where: str, have: str, larger: str
) -> str:
    remedies = [f"use an instance type with {larger}"]
    if not recipe.checkpointing:
        remedies.append("TrainingArguments.gradient_checkpointing: true")
    if recipe.batch > 1:
        remedies.append("a smaller TrainingArguments.per_device_train_batch_size")
    if recipe.length > DEFAULT_LENGTH // 2:
        remedies.append("a smaller TrainingArguments.max_length")
    if recipe.method != "qlora" and where != "RAM":
        remedies.append("method qlora")
    examples = f"batches of {recipe.batch} × {min(recipe.length, model.max_model_len)} tokens"
    return (
        f"{recipe.method} of {model.name} needs {needed.total:.1f} GiB of {where} (weights"
        f" {needed.weights:.1f}, what is trained {needed.trained:.1f}, activations"
        f" {needed.activations:.1f} and logits {needed.logits:.1f} of {examples}, the rest"
        f" {needed.base:.1f}), but {have}: {', or '.join(remedies)}"
    )
