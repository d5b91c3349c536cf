"""BM25 as sparse vectors: the weights are ours, the idf is the server's."""

from __future__ import annotations

import numpy as np
from qdrant_client import models

from rag.memory.analysis import TERM, Analyzer
from rag.memory.bm25 import K1, B

AVERAGE_LENGTH = 100
"""Terms. The server keeps weights as they were computed, when no one knew what was to come."""


def weights(packed: bytes) -> models.SparseVector:
    """Of a chunk, from `Analyzer.pack`."""
    records = np.frombuffer(packed, TERM)
    counts = records["count"].astype(np.float64)
    norm = K1 * (1 - B + B * counts.sum() / AVERAGE_LENGTH)
    weighed = counts * (K1 + 1) / (counts + norm)
    return models.SparseVector(indices=records["term"].tolist(), values=weighed.tolist())


def asked(analyzer: Analyzer, text: str) -> models.SparseVector | None:
    """Of a query, None where it has no terms."""
    counts = analyzer.count(text)
    if not counts:
        return None
    return models.SparseVector(indices=list(counts), values=[float(n) for n in counts.values()])
