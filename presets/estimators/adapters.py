"""Room for LoRA adapters, which vLLM sets aside when it starts, whether any come or not."""

from __future__ import annotations

from apis import container
from presets.model import GIB, Model

WIDTHS = 20
"""Inputs and outputs of one layer's seven matrices together, in hidden sizes: 19.7 to 20.6 in
Llama, Phi, Qwen and Gemma."""
WHOLE = 0.35
"""Of them, what every slice along the heads has for itself: the inputs of matrices that are cut by
their outputs, and the outputs of those that are cut by their inputs."""


def room_gib(model: Model, *, value_bytes: int = 2, tensor: int = 1) -> float:
    """Of one slice, all layers: `container.LORA_SLOTS` adapters of rank `container.LORA_RANK`.

    A mixture of experts sets none aside, since each of its experts would need as much.
    """
    if not model.lora or model.moe:
        return 0.0
    widths = WIDTHS * model.hidden_size * (WHOLE + (1 - WHOLE) / tensor)
    values = widths * model.layers * container.LORA_RANK * container.LORA_SLOTS
    return values * value_bytes / GIB
