"""One vector of a text's many: the ways of sentence-transformers' Pooling, without torch. Pure.

Padding is on the right, so the first token is every text's first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.float32]
"""(texts, tokens, dimension)"""
Mask = npt.NDArray[np.int64]
"""(texts, tokens); 0 where a token is padding."""
_Pool = Callable[[Tokens, Any], Any]


def pooled(tokens: Tokens, mask: Mask, modes: Sequence[str]) -> Tokens:
    """(texts, dimension); that of each mode after the other."""
    found = [MODES[mode](tokens, mask[:, :, None].astype(np.float32)) for mode in modes]
    return np.concatenate(found, axis=1)


def _sum(tokens: Tokens, weights: Any) -> Any:
    return (tokens * weights).sum(axis=1)


def _count(weights: Any) -> Any:
    return np.maximum(weights.sum(axis=1), 1e-9)


def _weighted(tokens: Tokens, mask: Any) -> Any:
    """A token counts the more the later it is."""
    weights = mask * np.arange(1, mask.shape[1] + 1, dtype=np.float32)[None, :, None]
    return _sum(tokens, weights) / _count(weights)


def _last(tokens: Tokens, mask: Any) -> Any:
    last = mask.sum(axis=1).astype(np.int64)[:, 0] - 1
    return tokens[np.arange(len(tokens)), last]


MODES: MappingProxyType[str, _Pool] = MappingProxyType(
    {
        "cls": lambda tokens, _: tokens[:, 0],
        "max": lambda tokens, mask: np.where(mask > 0, tokens, -np.inf).max(axis=1),
        "mean": lambda tokens, mask: _sum(tokens, mask) / _count(mask),
        "mean_sqrt_len_tokens": lambda tokens, mask: _sum(tokens, mask) / np.sqrt(_count(mask)),
        "weightedmean": _weighted,
        "lasttoken": _last,
    }
)
"""By sentence-transformers' names, and in its order, in which those of older models are joined."""
