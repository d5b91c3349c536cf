"""Both lists of each query from the server in one request, and their fusion here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qdrant_client import models

from rag import ranking
from rag.documents import Hit, Query, Source
from rag.memory.analysis import Analyzer
from rag.qdrant import conditions, fields, terms
from rag.qdrant.connection import Connection

_DIGITS = 6
"""Scores that differ less are equal: they were summed in some order."""

_Ranked = Mapping[str, float]
"""Scores by point, best first."""


@dataclass(frozen=True, slots=True)
class _Found:
    point: str
    score: float
    dense: float | None
    sparse: float | None
    source: Source


class Search:
    """Of one collection. All legs of all queries are one request, the hits' payloads another."""

    def __init__(
        self, connection: Connection, collection: str, analyzer: Analyzer, *, exact: bool
    ) -> None:
        self._connection = connection
        self._collection = collection
        self._analyzer = analyzer
        self._exact = exact

    def run(self, queries: Sequence[Query]) -> list[list[Hit]]:
        answers = [self._answer(*each) for each in self._lists(queries)]
        wanted = {found.point: found for answer in answers for found in answer}
        payloads = self._payloads(list(wanted))
        unknown = [point for point, found in wanted.items() if found.source == "sparse_only"]
        vectors = self._vectors(unknown) if any(q.mode == "hybrid" for q in queries) else {}
        return [
            [
                _hit(found, payloads[found.point], _cosine(query, found, vectors))
                for found in answer
                if found.point in payloads  # deleted since
            ]
            for query, answer in zip(queries, answers, strict=True)
        ]

    def _lists(self, queries: Sequence[Query]) -> list[tuple[Query, _Ranked, _Ranked]]:
        """For each query the dense list and the sparse one, empty where its mode has none."""
        legs: list[tuple[int, str, models.QueryRequest]] = []
        for at, query in enumerate(queries):
            if query.top_k <= 0:
                continue
            if query.mode != "sparse":
                legs.append((at, fields.DENSE, self._dense(query)))
            words = None if query.mode == "dense" else terms.asked(self._analyzer, query.text)
            if words is not None:
                legs.append((at, fields.SPARSE, _request(query, fields.SPARSE, words)))
        found: dict[tuple[int, str], _Ranked] = {}
        if legs:
            requests = [request for _, _, request in legs]
            answers = self._connection.call(
                "query_batch_points", self._collection, requests=requests
            )
            for (at, name, _), answer in zip(legs, answers, strict=True):
                found[at, name] = _ranked(answer.points)
        return [
            (query, found.get((at, fields.DENSE), {}), found.get((at, fields.SPARSE), {}))
            for at, query in enumerate(queries)
        ]

    def _dense(self, query: Query) -> models.QueryRequest:
        if query.vector is None:
            raise ValueError(f"a query in mode {query.mode} needs a vector")
        request = _request(query, fields.DENSE, query.vector.tolist())
        if self._connection.remote:
            limit = request.limit or 0
            request.params = models.SearchParams(exact=self._exact, hnsw_ef=2 * limit)
        return request

    def _answer(self, query: Query, dense: _Ranked, sparse: _Ranked) -> list[_Found]:
        if query.mode == "dense":
            best = list(dense.items())[: query.top_k]
            return [_Found(point, score, score, None, "dense_only") for point, score in best]
        if query.mode == "sparse":
            best = list(sparse.items())[: query.top_k]
            return [_Found(point, score, None, score, "sparse_only") for point, score in best]
        return [
            _Found(each.key, each.score, dense.get(each.key), sparse.get(each.key), each.source)
            for each in ranking.fuse(list(dense), list(sparse), query.top_k)
        ]

    def _payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = self._connection.call("retrieve", self._collection, ids=ids) if ids else []
        return {str(record.id): record.payload or {} for record in found}

    def _vectors(self, ids: Sequence[str]) -> dict[str, Sequence[float]]:
        if not ids:
            return {}
        found = self._connection.call(
            "retrieve", self._collection, ids=ids, with_payload=False, with_vectors=[fields.DENSE]
        )
        return {str(record.id): record.vector[fields.DENSE] for record in found}


def _request(
    query: Query, name: str, value: list[float] | models.SparseVector
) -> models.QueryRequest:
    return models.QueryRequest(
        query=value,
        using=name,
        filter=conditions.passing(query.metadata_filter, fields.CHUNK),
        limit=ranking.pool_size(query.top_k),
        with_payload=["doc_id", "position"],
    )


def _ranked(found: Sequence[models.ScoredPoint]) -> _Ranked:
    """Of equals in the order that is the same everywhere."""

    def order(point: models.ScoredPoint) -> tuple[float, int, int]:
        payload = point.payload or {}
        score = round(point.score, _DIGITS)
        return -score, ranking.tie_key(payload["doc_id"]), payload["position"]

    return {str(point.id): point.score for point in sorted(found, key=order)}


def _cosine(query: Query, found: _Found, vectors: Mapping[str, Sequence[float]]) -> float | None:
    """Of what BM25 alone has found, in mode hybrid."""
    vector = vectors.get(found.point)
    if query.mode != "hybrid" or query.vector is None or found.dense is not None or vector is None:
        return found.dense
    return float(np.dot(np.array(vector, np.float32), query.vector))


def _hit(found: _Found, payload: Mapping[str, Any], cosine: float | None) -> Hit:
    return Hit(
        doc_id=payload["doc_id"],
        node_id=payload["node_id"],
        position=payload["position"],
        start=payload["start"],
        end=payload["end"],
        text=payload["text"],
        metadata=json.loads(payload["metadata"]),
        score=found.score,
        dense_score=cosine,
        sparse_score=found.sparse,
        source=found.source,
    )
