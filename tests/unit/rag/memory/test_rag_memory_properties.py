"""Any history of batches, any query: what is found is what plain lists and loops find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rag import filters, ranking
from rag.documents import Batch, EmbeddedDocument, Hit, Mode, Query
from rag.memory import dense, generation
from rag.memory.analysis import Analyzer
from rag.memory.index import MemoryIndex

from tests.unit.rag.index_contract import DIMENSION, a_document, hits_of, unit
from tests.unit.rag.memory import oracle

PLAIN = Analyzer("none")
WORDS = [f"w{at}" for at in range(12)]
CLOSE = 1e-5

words = st.lists(st.sampled_from(WORDS), max_size=12)
numbers = st.lists(st.integers(-3, 3), min_size=DIMENSION, max_size=DIMENSION).filter(any)
metadata = st.dictionaries(st.sampled_from("ab"), st.sampled_from([1, 1.0, True, "1", [1]]))
documents = st.builds(
    lambda doc_id, texts, vector, known: a_document(
        doc_id, *map(" ".join, texts), vector=vector, **known
    ),
    st.sampled_from([f"d{at}" for at in range(12)]),
    st.lists(words, max_size=3),
    numbers,
    metadata,
)
batches = st.builds(
    lambda put, delete: Batch(tuple(put), tuple(delete)),
    st.lists(documents, max_size=6),
    st.lists(st.sampled_from([f"d{at}" for at in range(12)]), max_size=3),
)
queries = st.builds(
    lambda text, vector, top_k, mode, where: Query(
        " ".join(text), unit(*vector), top_k, mode, where
    ),
    words,
    numbers,
    st.integers(1, 40),
    st.sampled_from(["hybrid", "dense", "sparse"]),
    st.none() | metadata,
)
policies = st.sampled_from([(256, 3, 0.1), (0, 0, 1.0), (2, 1, 0.5), (3, 2, 0.0)])
"""When segments are merged: at once, never, and between."""


@contextmanager
def merging(policy: tuple[int, int, float]) -> Iterator[None]:
    small, ratio, dead = policy
    with mock.patch.multiple(generation, SMALL=small, RATIO=ratio, DEAD=dead):
        yield


def built(history: list[Batch]) -> tuple[MemoryIndex, dict[str, EmbeddedDocument]]:
    """An index, and what must be in it."""
    index, kept = MemoryIndex(DIMENSION, PLAIN), dict[str, EmbeddedDocument]()
    for batch in history:
        index.apply(batch)
        for doc_id in batch.delete:
            kept.pop(doc_id, None)
        for each in batch.put:
            kept[each.document.doc_id] = each
    return index, kept


def keys(hits: list[Hit]) -> list[tuple[str, int]]:
    return [(hit.doc_id, hit.position) for hit in hits]


def ranked(hits: list[Hit]) -> list[tuple[str, int]]:
    """The same, once it is sure that each is there once, and that scores descend."""
    assert len(set(keys(hits))) == len(hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    return keys(hits)


@settings(max_examples=120, deadline=None)
@given(st.lists(batches, max_size=8), st.lists(queries, min_size=1, max_size=8), policies)
def test_the_index_finds_what_the_oracle_finds(
    history: list[Batch], asked: list[Query], policy: tuple[int, int, float]
) -> None:
    with merging(policy):
        index, kept = built(history)
    known = oracle.chunks(kept)
    assert index.count() == (len(kept), len(known))
    assert sorted(index.doc_ids()) == sorted(kept)
    for query, hits in zip(asked, hits_of(index, asked), strict=True):
        wanted = query.metadata_filter or {}
        allowed = {each.key for each in known if oracle.passes(each.metadata, wanted)}
        cosines = {key: s for key, s in oracle.dense(known, query.vector).items() if key in allowed}
        bm25 = oracle.bm25(known, query.text.split())
        bm25 = {key: score for key, score in bm25.items() if key in allowed}
        if query.mode == "hybrid":
            check_fused(index, query, hits)
        else:
            check_ranked(hits, cosines if query.mode == "dense" else bm25, query.top_k)
        for hit in hits:
            key = hit.doc_id, hit.position
            if hit.dense_score is not None:
                assert hit.dense_score == pytest.approx(cosines[key], abs=CLOSE)
            if hit.sparse_score is not None:
                assert hit.sparse_score == pytest.approx(bm25[key], abs=CLOSE)
            assert hit.metadata == kept[hit.doc_id].document.metadata
            assert hit.text == kept[hit.doc_id].chunks[hit.position].text


def check_ranked(hits: list[Hit], scores: dict[tuple[str, int], float], top_k: int) -> None:
    """The best ones; which of equals is for another test."""
    best = sorted(scores.values(), reverse=True)[:top_k]
    assert [hit.score for hit in hits] == pytest.approx(best, abs=CLOSE)
    for hit, key in zip(hits, ranked(hits), strict=True):
        assert hit.score == pytest.approx(scores[key], abs=CLOSE)


def check_fused(index: MemoryIndex, query: Query, hits: list[Hit]) -> None:
    """By definition, from both lists at their full length."""
    modes: tuple[Mode, Mode] = ("dense", "sparse")
    lists = [Query(query.text, query.vector, 100, mode, query.metadata_filter) for mode in modes]
    by_vector, by_words = (ranked(each) for each in hits_of(index, lists))
    scores = oracle.fused(by_vector, by_words)
    check_ranked(hits, scores, query.top_k)
    for hit in hits:
        key = hit.doc_id, hit.position
        expected = {(True, True): "both", (True, False): "dense_only"}
        assert hit.source == expected.get((key in by_vector, key in by_words), "sparse_only")


@settings(max_examples=60, deadline=None)
@given(st.lists(batches, max_size=8), queries, policies)
def test_how_it_came_to_be_does_not_show(
    history: list[Batch], query: Query, policy: tuple[int, int, float]
) -> None:
    with merging(policy):
        index, kept = built(history)
    fresh = MemoryIndex(DIMENSION, PLAIN)
    batch = Batch(tuple(kept[doc_id] for doc_id in sorted(kept)))
    fresh.apply(batch, fresh.pack(batch))
    one, other = hits_of(index, [query])[0], hits_of(fresh, [query] * 7)[3]
    assert keys(one) == keys(other)
    assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(json_values, json_values)
def test_values_are_equal_as_python_has_it(one: Any, other: Any) -> None:
    for left, right in ((one, other), (one, one), (other, [one]), (1, True), (2**60, float(2**60))):
        assert (filters.canonical(left) == filters.canonical(right)) == oracle.same(left, right)
        assert filters.matches({"a": left}, {"a": right}) == oracle.same(left, right)


@pytest.mark.parametrize(("alike", "dead"), [(50, 0), (400, 300), (1000, 0), (1000, 600)])
@pytest.mark.parametrize("overfetch", [0, 2048])
def test_a_large_segment_is_searched_exactly(
    alike: int, dead: int, overfetch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More chunks than a pool, some dead, many with the same vector."""
    monkeypatch.setattr(dense, "_OVERFETCH", overfetch)
    random = np.random.default_rng(alike)
    vectors = random.standard_normal((2000, DIMENSION), np.float32)
    vectors[:alike] = vectors[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = MemoryIndex(DIMENSION, PLAIN)
    documents = [a_document(f"d{at}", "word", vector=v) for at, v in enumerate(vectors)]
    with merging((0, 0, 1.0)):
        index.apply(Batch(tuple(documents)))
        index.apply(Batch(delete=tuple(f"d{at}" for at in range(dead))))
    kept = {each.document.doc_id: each for each in documents[dead:]}
    asked = [Query("word", vectors[at], 30, "dense") for at in (0, 1200, 1500)]
    for query, hits in zip(asked, hits_of(index, asked), strict=True):
        check_ranked(hits, oracle.dense(oracle.chunks(kept), query.vector), query.top_k)
        assert hits == hits_of(index, [query])[0]
    equals = sorted((f"d{at}" for at in range(dead, alike)), key=ranking.tie_key)[:30]
    assert [hit.doc_id for hit in hits_of(index, asked[:1])[0]][: len(equals)] == equals
