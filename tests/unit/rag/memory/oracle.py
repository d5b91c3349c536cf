"""What the index must come to, computed plainly: lists, loops and Python's own equality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rag.documents import EmbeddedDocument, Vectors

K1, B, RRF_K = 1.5, 0.75, 60


@dataclass(frozen=True)
class Known:
    """A chunk with its words."""

    doc_id: str
    position: int
    words: tuple[str, ...]
    vector: Vectors
    metadata: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, int]:
        return self.doc_id, self.position


def chunks(documents: Mapping[str, EmbeddedDocument]) -> list[Known]:
    return [
        Known(doc_id, chunk.position, tuple(chunk.text.split()), vector, each.document.metadata)
        for doc_id, each in documents.items()
        for chunk, vector in zip(each.chunks, each.vectors, strict=True)
    ]


def dense(known: Sequence[Known], vector: Vectors) -> dict[tuple[str, int], float]:
    return {each.key: float(np.dot(each.vector.astype(float), vector)) for each in known}


def bm25(known: Sequence[Known], query: Sequence[str]) -> dict[tuple[str, int], float]:
    """Of those with any of the words."""
    average = sum(len(each.words) for each in known) / max(len(known), 1)
    scores: dict[tuple[str, int], float] = {}
    for each in known:
        score = 0.0
        for word in query:  # a word that is asked twice counts twice
            count = each.words.count(word)
            with_it = sum(word in other.words for other in known)
            idf = math.log(1 + (len(known) - with_it + 0.5) / (with_it + 0.5))
            norm = K1 * (1 - B + B * len(each.words) / average) if average else K1
            score += idf * count * (K1 + 1) / (count + norm)
        if score > 0:
            scores[each.key] = score
    return scores


def fused(
    dense_list: Sequence[tuple[str, int]], sparse_list: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], float]:
    """1 is the first of both."""
    scores: dict[tuple[str, int], float] = {}
    for ranked in (dense_list, sparse_list):
        for rank, key in enumerate(ranked, start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (RRF_K + rank)
    return {key: score * (RRF_K + 1) / 2 for key, score in scores.items()}


def passes(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in metadata and same(metadata[name], wanted[name]) for name in wanted)


def same(one: Any, other: Any) -> bool:
    """Python's equality, but that a truth value is no number."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)
