"""A repository on Hugging Face as a Model: its file list and `config.json`. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from presets.catalog import DISK_HEADROOM_GIB
from presets.model import DTYPE_BYTES, GIB, Model, Upstream
from presets.quirks import quirks

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


class UnsupportedModelError(ValueError):
    """The repository does not describe a model that we could place; the message says what lacks."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a repository, by its path in it; bytes."""

    path: str
    size: int


def parse_config(text: str) -> dict[str, Any]:
    """`config.json`, where Python's NaN and Infinity (not JSON, yet found) become null."""
    try:
        config = json.loads(text, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        raise UnsupportedModelError(f"config.json is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise UnsupportedModelError("config.json is not an object")
    return config


def model(hf_id: str, config: Mapping[str, Any], files: Iterable[File], *, revision: str) -> Model:
    """The model of a repository; UnsupportedModelError where its size cannot be told."""
    merged = _with_text_config(config)
    architecture = str((config.get("architectures") or [""])[0])
    name = hf_id.rsplit("/", 1)[-1].casefold()
    weights = tuple(file for file in files if _WEIGHTS.search(file.path))
    fields: dict[str, Any] = {
        "name": name,
        "hf_id": hf_id,
        "revision": revision,
        "architecture": architecture,
        "vocab_size": _integer(merged, "vocab_size"),
        **asdict(quirks(name, architecture)),
    }
    fields |= _weights(hf_id, merged, weights)
    fields |= _attention(hf_id, merged, DTYPE_BYTES[fields["kv_dtype"]])
    if any(_CONSOLIDATED.search(file.path) for file in weights):
        fields |= dict.fromkeys(("load_format", "config_format", "tokenizer_mode"), "mistral")
    fields["upstream"] = Upstream(
        weights=fields.pop("upstream_weights"), kv_bytes_per_token=fields.pop("upstream_kv")
    )
    return Model(**fields)


def _with_text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Models that also see or hear keep the language part apart."""
    inner = config.get("text_config") or config.get("llm_config") or {}
    return {**inner, **{key: value for key, value in config.items() if value is not None}}


def _weights(hf_id: str, config: Mapping[str, Any], weights: tuple[File, ...]) -> dict[str, Any]:
    upstream = sum(file.size for file in _one_format(weights))
    # The same weights often lie in folders once more (`original/`, `metal/`): those do not load.
    top = tuple(file for file in weights if "/" not in file.path)
    loaded = sum(file.size for file in _one_format(top or weights))
    if not loaded:
        raise UnsupportedModelError(f"{hf_id} has no weight files (*.safetensors or *.bin)")
    quantization = _quantization(config)
    stored = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    if stored == "float32" and not quantization:
        # vLLM is told to load it as bfloat16, half of what is stored.
        loaded = -(-loaded // 2)
    return {
        "weights_bytes": loaded,
        "upstream_weights": f"{upstream / GIB:.2f}Gi",
        "disk_gib": int(upstream / GIB + DISK_HEADROOM_GIB),
        "quantization": quantization,
        "dtype": "float16" if stored == "float16" else "bfloat16",
    }


def _one_format(weights: tuple[File, ...]) -> list[File]:
    """Mistral's own files where there are any, else safetensors, else pickles."""
    for pattern in (_CONSOLIDATED, _SAFETENSORS, _WEIGHTS):
        if found := [file for file in weights if pattern.search(file.path)]:
            return found
    return []


def _quantization(config: Mapping[str, Any]) -> str:
    found = config.get("quantization_config") or config.get("quantization") or {}
    method = str(found.get("quant_method") or found.get("quant_algo") or "")
    return str(found.get("format") or method) if method == "compressed-tensors" else method


def _attention(hf_id: str, config: Mapping[str, Any], value_bytes: int) -> dict[str, Any]:
    layers = _integer(config, *_LAYERS)
    heads = _integer(config, *_HEADS)
    hidden = _integer(config, *_HIDDEN)
    if not (layers and heads):
        raise UnsupportedModelError(
            f"the config.json of {hf_id} does not tell the number of layers and attention heads"
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
