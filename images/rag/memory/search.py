"""Queries against one generation: both lists, each filtered before it is ranked, and the fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from rag import filters, ranking
from rag.documents import Hit, Metadata, Query, Source, Vectors
from rag.memory import bm25
from rag.memory.analysis import Analyzer
from rag.memory.candidates import NOTHING, Candidates, Found, Ranked, Rows
from rag.memory.generation import Generation
from rag.memory.strings import Mask

_SLACK = 32
"""More than the pool: what ranks near its end is told apart by better numbers than faiss's."""
_SAME = 1e-5
"""Two ways to sum give one cosine two values, so far apart at most."""

_FilterKey = tuple[tuple[str, str], ...]
_Nearest = tuple[Rows, npt.NDArray[np.float32]]


class Search:
    """Of one generation, by several queries at once; used once."""

    def __init__(self, generation: Generation, analyzer: Analyzer) -> None:
        self._generation = generation
        self._analyzer = analyzer
        self._candidates = Candidates(generation)
        self._masks: dict[_FilterKey, list[Mask | None]] = {}

    def run(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """One product of matrices for all, then one answer after another."""
        nearest = self._dense(queries)
        for at, query in enumerate(queries):
            dense = nearest[at]() if at in nearest else NOTHING
            yield [self._candidates.hit(found) for found in self._answer(query, dense)]

    def _answer(self, query: Query, dense: Ranked) -> list[Found]:
        if query.top_k <= 0:
            return []
        if query.mode == "dense":
            return _alone(dense, query.top_k, "dense_only")
        sparse = self._sparse(query)
        if query.mode == "sparse":
            return _alone(sparse, query.top_k, "sparse_only")
        return self._fused(query, dense, sparse)

    def _fused(self, query: Query, dense: Ranked, sparse: Ranked) -> list[Found]:
        """Every hit with its cosine, also those that BM25 alone has found: a few products more."""
        fused = ranking.fuse(dense.rows.tolist(), sparse.rows.tolist(), query.top_k)
        cosines = self._candidates.cosines(
            vector_of(query), np.array([one.key for one in fused], np.int64)
        )
        return [
            Found(
                one.key,
                one.score,
                cosine,
                None if one.sparse_rank is None else float(sparse.scores[one.sparse_rank - 1]),
                one.source,
            )
            for one, cosine in zip(fused, cosines.tolist(), strict=True)
        ]

    def _dense(self, queries: Sequence[Query]) -> Mapping[int, Callable[[], Ranked]]:
        """By the query's place. Those of one filter go through the vectors together."""
        groups: dict[_FilterKey, list[int]] = {}
        for at, query in enumerate(queries):
            if query.mode != "sparse" and query.top_k > 0:
                groups.setdefault(_key(query.metadata_filter), []).append(at)
        return {
            at: ranked
            for group in groups.values()
            for at, ranked in zip(group, self._of_group([queries[at] for at in group]), strict=True)
        }

    def _of_group(self, queries: Sequence[Query]) -> list[Callable[[], Ranked]]:
        limit = max(ranking.pool_size(query.top_k) for query in queries) + _SLACK
        allowed = self._allowed(queries[0].metadata_filter)
        vectors = np.stack([vector_of(query) for query in queries])
        nearest = self._nearest(vectors, limit, allowed)
        return [
            partial(self._exact, query, found, limit, allowed)
            for query, found in zip(queries, nearest, strict=True)
        ]

    def _exact(
        self, query: Query, found: _Nearest, limit: int, allowed: Sequence[Mask | None]
    ) -> Ranked:
        """In the order of the cosines as they are always computed; of equals none by chance."""
        vector, wanted = vector_of(query), ranking.pool_size(query.top_k)
        rows, similar = found
        while len(rows) >= limit and similar[wanted - 1] - similar[limit - 1] < _SAME:
            limit *= 4  # so many are alike that faiss has chosen among equals
            rows, similar = self._nearest(vector[np.newaxis], limit, allowed)[0]
        if len(rows) > wanted:
            rows = rows[similar >= similar[wanted - 1] - _SAME]
        return self._candidates.best(rows, self._candidates.cosines(vector, rows), wanted)

    def _nearest(
        self, vectors: Vectors, limit: int, allowed: Sequence[Mask | None]
    ) -> list[_Nearest]:
        """For each vector, descending, the best of each segment: at least `limit` if there are."""
        offsets = self._candidates.offsets
        found = [
            (part.segment.chunks.dense.search(vectors, limit, mask), offset)
            for part, mask, offset in zip(self._generation.parts, allowed, offsets, strict=False)
        ]
        if not found:
            return [(NOTHING.rows, np.empty(0, np.float32))] * len(vectors)
        similar = np.concatenate([each for (each, _), _ in found], axis=1)
        rows = np.concatenate([each + offset for (_, each), offset in found], axis=1)
        there = np.concatenate([each >= 0 for (_, each), _ in found], axis=1)
        joined = []
        for at in range(len(vectors)):
            places = np.flatnonzero(there[at])
            places = places[np.argsort(-similar[at, places], kind="stable")]
            joined.append((rows[at, places], similar[at, places]))
        return joined

    def _sparse(self, query: Query) -> Ranked:
        terms = self._analyzer.count(query.text)
        wanted = ranking.pool_size(query.top_k)
        rows, values = [NOTHING.rows], [NOTHING.scores]
        if terms:
            scored = bm25.scores(terms, self._generation.searched, self._generation.chunks)
            masks = self._allowed(query.metadata_filter)
            for scores, mask, offset in zip(scored, masks, self._candidates.offsets, strict=False):
                found, value = _positive(scores, mask, wanted)
                rows.append(found + offset)
                values.append(value)
        return self._candidates.best(np.concatenate(rows), np.concatenate(values), wanted)

    def _allowed(self, wanted: Metadata | None) -> Sequence[Mask | None]:
        """Of each segment the chunks that are alive and pass the filter; None for all."""
        key = _key(wanted)
        if key not in self._masks:
            masks = []
            for part in self._generation.parts:
                mask = part.alive.chunks
                if wanted:
                    passed = part.segment.allowed(wanted)
                    mask = passed if mask is None else passed & mask
                masks.append(mask)
            self._masks[key] = masks
        return self._masks[key]


def vector_of(query: Query) -> Vectors:
    if query.vector is None:
        raise ValueError(f"a query in mode {query.mode} needs a vector")
    return query.vector


def _alone(ranked: Ranked, top_k: int, source: Source) -> list[Found]:
    pairs = zip(ranked.rows[:top_k].tolist(), ranked.scores[:top_k].tolist(), strict=True)
    if source == "dense_only":
        return [Found(row, score, score, None, source) for row, score in pairs]
    return [Found(row, score, None, score, source) for row, score in pairs]


def _positive(scores: bm25.Scores, allowed: Mask | None, limit: int) -> tuple[Rows, bm25.Scores]:
    """What has a score; no fewer than the best `limit`, and all that are equal to the last."""
    there = scores > 0
    found = np.flatnonzero(there if allowed is None else there & allowed)
    value = scores[found]
    if len(found) > limit:
        best = value >= np.partition(value, len(value) - limit)[len(value) - limit]
        found, value = found[best], value[best]
    return found, value


def _key(wanted: Metadata | None) -> _FilterKey:
    return tuple(sorted((name, filters.canonical(value)) for name, value in (wanted or {}).items()))
