"""Keys and values of several sequences in one cache: they join it, share its steps and leave it.

Sequences of a batch have one width: shorter ones are padded on the left. Layers with a sliding
window keep the last `window - 1` places of it, as transformers' own do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from transformers.cache_utils import (
    Cache,
    DummyLayer,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

_PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)


def new(config: Any) -> Cache:
    """An empty cache with the layers that the model has."""
    return DynamicCache(config=config)


def can_be_shared(cache: Cache) -> bool:
    """Whether all layers hold keys and values alone: a recurrent state knows no padding."""
    return all(type(layer) in (*_PLAIN, DummyLayer) for layer in cache.layers)


def nbytes(cache: Cache) -> int:
    """Of keys and values."""
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in _filled(cache))


def join(cache: Cache, width: int, other: Cache, other_width: int) -> None:
    """The sequences of the other cache below those of the first, at the larger width."""
    wide = max(width, other_width)
    for mine, theirs in zip(cache.layers, other.layers, strict=True):
        if not getattr(mine, "is_initialized", False):
            continue
        places = _places(mine, wide)
        mine.keys = torch.cat([_padded(mine.keys, places), _padded(theirs.keys, places)])
        mine.values = torch.cat([_padded(mine.values, places), _padded(theirs.values, places)])
        if isinstance(mine, DynamicSlidingWindowLayer):
            mine.cumulative_length = wide


def keep(cache: Cache, rows: torch.Tensor, width: int) -> None:
    """Only these rows, and of them the last `width` places: the rest is padding."""
    for layer in _filled(cache):
        places = _places(layer, width)
        # Copied: a view would hold on to the memory of those that left.
        chosen = rows.to(layer.keys.device)
        layer.keys = layer.keys[chosen, :, layer.keys.shape[-2] - places :].contiguous()
        layer.values = layer.values[chosen, :, layer.values.shape[-2] - places :].contiguous()
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length = width


def _filled(cache: Cache) -> Iterator[Any]:
    """Some layers use the keys and values of others."""
    return (
        layer
        for layer in cache.layers
        if isinstance(layer, DynamicLayer) and getattr(layer, "is_initialized", False)
    )


def _places(layer: Any, width: int) -> int:
    if isinstance(layer, DynamicSlidingWindowLayer):
        return min(width, int(layer.sliding_window) - 1)
    return width


def _padded(states: torch.Tensor, places: int) -> torch.Tensor:
    missing = places - states.shape[-2]
    return torch.nn.functional.pad(states, (0, 0, missing, 0)) if missing else states
