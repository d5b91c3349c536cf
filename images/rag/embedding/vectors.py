"""What every embedder's answer is checked for. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from rag.documents import Vectors
from rag.errors import EmbedderError


def unit(found: Any, rows: int, dimension: int | None = None) -> Vectors:
    """`rows` rows of unit length, float32. Raises EmbedderError for another shape, for what is not
    finite, and for a row without a direction."""
    try:
        with np.errstate(over="ignore"):  # it is infinity then, and refused below
            matrix = np.asarray(found, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise EmbedderError("The embedder answered what is no list of vectors.") from None
    if matrix.ndim != 2 or matrix.shape[0] != rows or not matrix.shape[1]:
        shape = " by ".join(map(str, matrix.shape)) or "no"
        raise EmbedderError(f"The embedder answered {shape} numbers to {rows} texts.")
    if dimension is not None and matrix.shape[1] != dimension:
        raise EmbedderError(
            f"The embedder answered {matrix.shape[1]} dimensions, and had {dimension} before."
        )
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise EmbedderError("The embedder answered a vector that is not finite, or has no length.")
    return np.ascontiguousarray(matrix / lengths, dtype=np.float32)


def none(dimension: int) -> Vectors:
    """Of no texts at all."""
    return np.empty((0, dimension), dtype=np.float32)
