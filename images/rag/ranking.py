"""How lists of hits become one: reciprocal rank fusion, and an order that never depends on chance.

Ranks are fused, not scores: a cosine and a BM25 have no common scale, their ranks have. Every store
of vectors goes through here, so that a score means the same wherever the index lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from rag.documents import Source

RRF_K = 60
"""Of Cormack, Clarke and Büttcher (2009): how little the first ranks outweigh the next."""
MIN_POOL = 200
_BEST = 2 / (RRF_K + 1)
"""First of both lists."""

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Fused(Generic[KeyT]):
    """A place in the fused list; ranks count from 1, None where that list does not have it."""

    key: KeyT
    score: float
    """0 to 1; 1 is the first of both lists."""
    dense_rank: int | None
    sparse_rank: int | None

    @property
    def source(self) -> Source:
        if self.dense_rank is None:
            return "sparse_only"
        return "dense_only" if self.sparse_rank is None else "both"


def pool_size(top_k: int) -> int:
    """How long the lists are that are fused.

    A chunk beyond the pool of both lists has less than 2 / (RRF_K + pool), and the last of `top_k`
    at least 1 / (RRF_K + top_k): with 2 * top_k + RRF_K places none that belongs there is missed.
    Never less than MIN_POOL, so that asking for more does not change the order of the first ones.
    """
    return max(MIN_POOL, 2 * top_k + RRF_K)


def fuse(dense: Sequence[KeyT], sparse: Sequence[KeyT], top_k: int) -> list[Fused[KeyT]]:
    """The best `top_k` of two ranked lists, best first; of equals, the better dense rank first."""
    dense_ranks = dict(zip(dense, count(1), strict=False))
    sparse_ranks = dict(zip(sparse, count(1), strict=False))
    scores = {key: 1 / (RRF_K + rank) for key, rank in dense_ranks.items()}
    for key, rank in sparse_ranks.items():
        scores[key] = scores.get(key, 0.0) + 1 / (RRF_K + rank)
    # The sort is stable, also in reverse: of equals dense ones first, by rank, then sparse ones.
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:top_k]
    return [
        Fused(key, scores[key] / _BEST, dense_ranks.get(key), sparse_ranks.get(key)) for key in best
    ]


def tie_key(doc_id: str) -> int:
    """What decides between chunks of one score, then their position: the same in each replica,
    after a restart, and however the index came to be."""
    digest = hashlib.blake2b(doc_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
