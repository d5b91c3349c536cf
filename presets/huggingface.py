"""A repository on Hugging Face as a Model: its file list and `config.json`. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from presets import architectures, gguf
from presets.catalog import DISK_HEADROOM_GIB
from presets.files import File, UnsupportedModelError
from presets.model import DTYPE_BYTES, GIB, Model, Upstream
from presets.quirks import quirks

__all__ = ["File", "UnsupportedModelError", "model", "parse_config"]

# The same number under the names that architectures give it, in upstream's order.
_LIMIT = (
    "max_position_embeddings",
    "n_ctx",
    "seq_length",
    "max_seq_len",
    "max_sequence_length",
    "model_max_length",
)
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KV_HEADS = ("num_key_value_heads", "n_head_kv", "num_kv_heads", "n_kv_heads")
_HEAD_DIM = ("head_dim", "attention_head_dim")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")

# Unanchored, as upstream's are: sub-folders count there.
_CONSOLIDATED = re.compile(r"consolidated[^/]*\.safetensors")
_SAFETENSORS = re.compile(r"\.safetensors$")
_WEIGHTS = re.compile(r"\.(safetensors|bin)$")
_OF_TRAINING = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin", "scaler.bin"})


def parse_config(text: str) -> dict[str, Any]:
    """`config.json`, where Python's NaN and Infinity (not JSON, yet found) become null."""
    try:
        config = json.loads(text, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        raise UnsupportedModelError(f"config.json is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise UnsupportedModelError("config.json is not an object")
    return config


def model(
    hf_id: str,
    config: Mapping[str, Any],
    files: Iterable[File],
    *,
    revision: str,
    quant: str = "",
    gated: bool = False,
) -> Model:
    """The model of a repository; UnsupportedModelError where its size cannot be told, or where
    no engine serves it. With `quant`, or without other weights, it is one in GGUF."""
    files = tuple(files)
    merged = _with_text_config(config)
    name = hf_id.rsplit("/", 1)[-1].casefold()
    weights = tuple(file for file in files if _WEIGHTS.search(file.path))
    in_gguf = is_gguf(files, quant)
    choice = gguf_file(hf_id, files, quant) if in_gguf else _beside(files)
    fields: dict[str, Any] = {
        "name": name,
        "hf_id": hf_id,
        "revision": revision,
        "auth_required": gated,
        "vocab_size": _integer(merged, "vocab_size"),
    }
    if in_gguf and choice is not None:
        fields |= _of_gguf(choice)
    else:
        fields |= _of_vllm(hf_id, config, merged, weights, choice)
    fields |= _attention(hf_id, merged, DTYPE_BYTES[fields.get("kv_dtype", "bfloat16")])
    fields["upstream"] = Upstream(
        weights=fields.pop("upstream_weights"), kv_bytes_per_token=fields.pop("upstream_kv")
    )
    return Model(**fields)


def is_gguf(files: Iterable[File], quant: str) -> bool:
    """Whether the model is to be served from GGUF: because it is asked for, or for want of else."""
    return bool(quant) or not any(_WEIGHTS.search(file.path) for file in files)


def gguf_file(hf_id: str, files: Iterable[File], quant: str) -> gguf.Choice:
    """The file that is meant; UnsupportedModelError where none is."""
    try:
        found = gguf.choose(files, quant)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{hf_id} {error}") from error
    if found is None:
        raise UnsupportedModelError(f"{hf_id} has no weight files (*.safetensors, *.bin, *.gguf)")
    return found


def _beside(files: Iterable[File]) -> gguf.Choice | None:
    """A GGUF file beside other weights is welcome, but nobody asked for it."""
    try:
        return gguf.choose(files)
    except UnsupportedModelError:
        return None


def _of_gguf(choice: gguf.Choice) -> dict[str, Any]:
    """vLLM does not read GGUF, so llama.cpp alone serves it, and loads it as it is."""
    return {
        "gguf_file": choice.path,
        "gguf_bytes": choice.size,
        "weights_bytes": choice.size,
        "upstream_weights": f"{choice.size / GIB:.2f}Gi",
        "disk_gib": int(choice.size / GIB + DISK_HEADROOM_GIB),
        "quantization": "gguf",
        "cpu_kv_offload": False,
        "runtimes": ("llamacpp",),
    }


def _of_vllm(
    hf_id: str,
    config: Mapping[str, Any],
    merged: Mapping[str, Any],
    weights: tuple[File, ...],
    choice: gguf.Choice | None,
) -> dict[str, Any]:
    named = [str(each) for each in config.get("architectures") or ()]
    method, _ = _quantization(merged)
    if refusal := architectures.refusal(named, method):
        raise UnsupportedModelError(f"{hf_id}: {refusal}")
    architecture = next(iter(named), "")
    known = quirks(hf_id.rsplit("/", 1)[-1].casefold(), architecture)
    fields: dict[str, Any] = {
        "architecture": architecture,
        "lora": architectures.supports_lora(architecture),
        **asdict(known),
        **_weights(hf_id, merged, weights),
    }
    fields["expert_parallel"] = known.expert_parallel or _experts_whole(merged)
    if any(_CONSOLIDATED.search(file.path) for file in _top(weights)):
        fields |= dict.fromkeys(("load_format", "config_format", "tokenizer_mode"), "mistral")
        if any(_is_shared(file.path) for file in _top(weights)):
            fields["runtimes"] = ("vllm", "transformers")
    if choice is not None:
        fields |= {"gguf_file": choice.path, "gguf_bytes": choice.size}
        fields["runtimes"] = (*fields.get("runtimes", ("vllm",)), "llamacpp")
    return fields


def _with_text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Models that also see or hear keep the language part apart."""
    inner = config.get("text_config") or config.get("llm_config") or {}
    return {**inner, **{key: value for key, value in config.items() if value is not None}}


def _weights(hf_id: str, config: Mapping[str, Any], weights: tuple[File, ...]) -> dict[str, Any]:
    upstream = sum(file.size for file in _one_format(weights))
    loaded = sum(
        file.size
        for file in _one_format(_top(weights))
        if file.path.rsplit("/", 1)[-1] not in _OF_TRAINING
    )
    if not loaded:
        raise UnsupportedModelError(f"the weight files of {hf_id} are empty")
    method, layout = _quantization(config)
    stored = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    if stored == "float32" and not method:
        # vLLM is told to load it as bfloat16, half of what is stored.
        loaded = -(-loaded // 2)
    return {
        "weights_bytes": loaded,
        "upstream_weights": f"{upstream / GIB:.2f}Gi",
        "disk_gib": int(upstream / GIB + DISK_HEADROOM_GIB),
        "quantization": layout or method,
        "dtype": "float16" if stored == "float16" else "bfloat16",
    }


def _is_shared(path: str) -> bool:
    """Safetensors that others than Mistral's own programs load."""
    return bool(_SAFETENSORS.search(path)) and not _CONSOLIDATED.search(path)


def _top(weights: tuple[File, ...]) -> tuple[File, ...]:
    """The same weights often lie in folders too (`original/`, `metal/`): those do not load."""
    return tuple(file for file in weights if "/" not in file.path) or weights


def _one_format(weights: tuple[File, ...]) -> list[File]:
    """Mistral's own files where there are any, else safetensors, else pickles."""
    for pattern in (_CONSOLIDATED, _SAFETENSORS, _WEIGHTS):
        if found := [file for file in weights if pattern.search(file.path)]:
            return found
    return []


def _quantization(config: Mapping[str, Any]) -> tuple[str, str]:
    """The method, and the layout of its numbers where the method has several."""
    found = _quantization_config(config)
    method = str(found.get("quant_method") or found.get("quant_algo") or "")
    return method, str(found.get("format") or "") if method == "compressed-tensors" else ""


def _quantization_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get("quantization_config") or config.get("quantization") or {}
    return found if isinstance(found, Mapping) else {}


def _experts_whole(config: Mapping[str, Any]) -> bool:
    """Whether experts must be dealt out whole: vLLM refuses to cut through a block of weights
    that share a scale, and the usual eight slices would."""
    width = _integer(config, "moe_intermediate_size", "expert_intermediate_size")
    block = _quantization_config(config).get("weight_block_size") or ()
    unit = max((int(each) for each in block), default=0)
    return _integer(config, *_EXPERTS) > 1 and bool(width and unit) and width % (8 * unit) != 0


def _attention(hf_id: str, config: Mapping[str, Any], value_bytes: int) -> dict[str, Any]:
    layers = _integer(config, *_LAYERS)
    heads = _integer(config, *_HEADS)
    hidden = _integer(config, *_HIDDEN)
    if not (layers and heads):
        raise UnsupportedModelError(
            f"{hf_id} does not tell its number of layers and attention heads (config.json)"
        )
    kv_heads = _integer(config, *_KV_HEADS) or (1 if config.get("multi_query") else heads)
    head_dim = _integer(config, *_HEAD_DIM) or hidden // heads
    latent = _integer(config, "kv_lora_rank")
    rope = _integer(config, "qk_rope_head_dim")
    layer_values = latent + rope if latent else 2 * kv_heads * head_dim
    attention, sliding = _layer_counts(config, layers)
    kept = layers if attention is None else attention
    return {
        "max_model_len": _integer(config, *_LIMIT) or 2048,
        "hidden_size": hidden,
        "layers": layers,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "kv_lora_rank": latent,
        "qk_rope_head_dim": rope if latent else 0,
        "moe": _integer(config, *_EXPERTS) > 1,
        "attention_layers": attention,
        "sliding_layers": sliding,
        "sliding_window": _integer(config, "sliding_window") if sliding else 0,
        "kv_bytes_per_token": layer_values * kept * value_bytes,
        "upstream_kv": layer_values * layers * 2,
    }


def _layer_counts(config: Mapping[str, Any], layers: int) -> tuple[int | None, int]:
    """Layers that keep every token (None for all), and those that keep a window."""
    if types := config.get("layer_types"):
        sliding = types.count("sliding_attention")
        full = types.count("full_attention") + types.count("attention")
    elif pattern := config.get("hybrid_override_pattern"):
        full, sliding = str(pattern).count("*"), 0
    elif (every := _integer(config, "sliding_window_pattern")) > 1:
        full, sliding = layers // every, layers - layers // every
    else:
        return None, 0
    if not full or (sliding and not config.get("sliding_window")):
        return None, 0
    return (None, 0) if full == layers else (full, sliding)


def _integer(config: Mapping[str, Any], *names: str) -> int:
    """The first of the names that has a number; 0 where none has."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return int(value)
    return 0
