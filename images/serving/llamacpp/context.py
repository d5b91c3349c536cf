"""How long a context fits into the container's memory. Pure.

    tokens = (memory - weights - kept prompts - work) / bytes of a token in the KV cache

Work, what llama.cpp computes in, is reckoned as half a GiB and a tenth of the weights.
"""

from __future__ import annotations

from serving.llamacpp.gguf import Shape

LEAST = 512
"""Tokens: with less nothing useful can be asked; then the machine must page."""
_STEP = 256
"""llama.cpp rounds its caches up to it."""
_SPARE_GIB = 0.5
"""For the process itself and what it computes in."""
_SPARE_SHARE = 0.1
"""Of the weights, for the same: larger models have wider layers."""
_GIB = 1 << 30


def fitting(
    wanted: int, shape: Shape | None, *, memory_gib: float, weights_gib: float, kept_gib: float
) -> int:
    """The tokens to start with: `wanted`, or the model's own length for 0, where they fit; else
    the most that do. `wanted` where nothing is known of the model or the memory.
    """
    if shape is None or not memory_gib:
        return wanted
    length = wanted or shape.context_length
    room = memory_gib - weights_gib * (1 + _SPARE_SHARE) - kept_gib - _SPARE_GIB
    tokens = int(room * _GIB / shape.kv_bytes_per_token) // _STEP * _STEP
    return wanted if length <= tokens else max(LEAST, tokens)


def words(found: int, wanted: int, shape: Shape | None, memory_gib: float) -> str:
    """For the log, where less was taken than was wanted; else empty."""
    if shape is None or found == wanted:
        return ""
    each = shape.kv_bytes_per_token / 1024
    return (
        f"context of {found} tokens in place of {wanted or shape.context_length}: more does not fit"
        f" into {memory_gib:.1f} GiB at {each:.0f} KiB a token beside the weights"
    )
