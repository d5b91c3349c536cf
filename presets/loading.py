"""A model as an engine keeps it, where it is told to keep it smaller than it is stored. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from presets.fits import DoesNotFitError
from presets.model import DTYPE_BYTES, Model, kv_bytes

LoadIn = Literal["4bit", "8bit"]

LOAD_IN: tuple[LoadIn, ...] = ("4bit", "8bit")

BITSANDBYTES = "bitsandbytes"
"""How the transformers runtime does it (`load_in_4bit`, `load_in_8bit`)."""

ONLINE = frozenset({"fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "mxfp8"})
"""vLLM's `quantization` for weights that are stored whole: eight bits in every linear layer. Its
other words for it reach experts only, and are not reckoned with."""

_BYTES: dict[LoadIn, float] = {"4bit": 0.5 + 4 / 64, "8bit": 1.0 + 4 / 128}
"""Of a weight in a linear layer, with the scale that each block of weights shares."""
_KEPT_WHOLE = 0.1
"""Share of the weights in embedding and output where vocabulary and width are not known."""

_FP8_CACHE = ("fp8", "fp8_e4m3", "fp8_e5m2")


def as_loaded(model: Model, *, load_in: LoadIn | None = None, kv_cache_dtype: str = "") -> Model:
    """The model with its weights in so many bits, and its cache in that type (vLLM's words).

    Raises DoesNotFitError for weights that are stored in few bits already.
    """
    if kv_cache_dtype:
        model = _with_cache(model, "fp8" if kv_cache_dtype in _FP8_CACHE else "bfloat16")
    return model if load_in is None else _with_weights(model, load_in)


def _with_weights(model: Model, load_in: LoadIn) -> Model:
    if model.quantization:
        raise DoesNotFitError(
            f"{model.name} has {model.quantization} weights, which cannot be loaded in {load_in}: "
            "leave that option out"
        )
    value = DTYPE_BYTES[model.dtype]
    embedded = 2 * model.vocab_size * model.hidden_size * value
    whole = min(embedded or _KEPT_WHOLE * model.weights_bytes, model.weights_bytes / 2)
    cut = (model.weights_bytes - whole) / value * _BYTES[load_in]
    return msgspec.structs.replace(
        model,
        weights_bytes=round(whole + cut),
        parameters=model.parameter_count / 1e9,
        quantization=BITSANDBYTES,
    )


def _with_cache(model: Model, dtype: str) -> Model:
    """What was given for the cache of a token is scaled; where it was derived that is the same."""
    if dtype == model.kv_dtype:
        return model
    derived = kv_bytes(model, layers=model.kept_layers, value_bytes=DTYPE_BYTES[dtype])
    scaled = model.kv_bytes_per_token * DTYPE_BYTES[dtype] // DTYPE_BYTES[model.kv_dtype]
    return msgspec.structs.replace(model, kv_dtype=dtype, kv_bytes_per_token=max(derived, scaled))
