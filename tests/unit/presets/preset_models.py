"""Models and nodes for the tests of presets/, each with only what its test is about."""

from __future__ import annotations

from typing import Any

from apis.gpu import GPU
from presets.model import GIB, Model

A10 = GPU(1, "NVIDIA A10", 24, "8.6")
A10_X2 = GPU(2, "NVIDIA A10", 24, "8.6")
A100 = GPU(1, "NVIDIA A100", 80, "8.0")
A100_X2 = GPU(2, "NVIDIA A100", 80, "8.0")
A100_X4 = GPU(4, "NVIDIA A100", 80, "8.0")
H100_NVL = GPU(1, "NVIDIA H100", 94, "9.0")
H200_X8 = GPU(8, "NVIDIA H200", 141, "9.0")
L4_X4 = GPU(4, "NVIDIA L4", 24, "8.9")
L4_X8 = GPU(8, "NVIDIA L4", 24, "8.9")
NO_GPU = GPU(0)


def a_model(weights_gib: float = 8, kv_bytes_per_token: int = 0, **fields: Any) -> Model:
    """`test-model` of upstream's unit tests: a size, and nothing known of its inside."""
    return Model(
        **{
            "name": "test-model",
            "hf_id": "test/test-model",
            "weights_bytes": int(weights_gib * GIB),
            "kv_bytes_per_token": kv_bytes_per_token,
            "max_model_len": 131072,
            **fields,
        }
    )


def a_llama(weights_gib: float = 14.96, **fields: Any) -> Model:
    """Llama 3.1 8B, of which a test may change what it likes."""
    shape = {"layers": 32, "heads": 32, "kv_heads": 8, "head_dim": 128, **fields}
    kept = shape.get("attention_layers") or shape["layers"]
    kv = 2 * shape["kv_heads"] * shape["head_dim"] * kept * 2
    return a_model(weights_gib, shape.pop("kv_bytes_per_token", kv), **shape)
