"""How segments come and go: few of them, whatever is put in, and nothing dead for long."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
from rag.documents import Batch
from rag.memory import generation
from rag.memory.index import MemoryIndex
from rag.memory.search import Search

from tests.unit.rag.index_contract import (
    ANALYZER,
    DIMENSION,
    a_document,
    a_query,
    hits_of,
    ids,
    put,
)


def sizes(index: MemoryIndex) -> list[int]:
    return [len(part.segment.chunks) for part in index._generation.parts]


def test_documents_one_by_one_come_to_few_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "SMALL", 8)
    index, copied, most = MemoryIndex(DIMENSION, ANALYZER), 0, 0
    for at in range(600):
        former = sizes(index)
        put(index, a_document(f"d{at}", "word"))
        now = sizes(index)
        same = sum(1 for one, other in zip(former, now, strict=False) if one == other)
        copied += sum(now[same:])
        most = max(most, len(now))
    assert sum(sizes(index)) == 600
    assert most <= 2 + math.log(600 / 8, generation.RATIO)
    assert copied / 600 < 8 + generation.RATIO * math.log(600 / 8, generation.RATIO)


def test_small_ones_are_one() -> None:
    index = MemoryIndex(DIMENSION, ANALYZER)
    for at in range(50):
        put(index, a_document(f"d{at}", "word"))
    assert sizes(index) == [50]


def test_the_dead_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "SMALL", 0)
    index = MemoryIndex(DIMENSION, ANALYZER)
    put(index, *(a_document(f"d{at}", "word " * 50) for at in range(100)))
    before = index.nbytes
    index.apply(Batch(delete=tuple(f"d{at}" for at in range(10))))
    assert sizes(index) == [100]
    index.apply(Batch(delete=("d10",)))
    assert sizes(index) == [89]
    index.apply(Batch(delete=tuple(f"d{at}" for at in range(11, 99))))
    assert sizes(index) == [1]
    assert index.nbytes < before / 50
    index.apply(Batch(delete=("d99",)))
    assert sizes(index) == []
    assert hits_of(index, [a_query("word")]) == [[]]


def test_who_still_reads_a_former_generation_sees_what_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generation, "DEAD", 1)
    index = MemoryIndex(DIMENSION, ANALYZER)
    put(index, *(a_document(f"d{at}", "word") for at in range(5)))
    seen = {}
    for at in range(4):
        seen[5 - at] = index._generation
        index.apply(Batch(delete=(f"d{at}",)))
    query = a_query("word", mode="sparse")
    for count, former in seen.items():
        (hits,) = Search(former, ANALYZER).run([query])
        assert sorted(ids(hits)) == [f"d{at}" for at in range(5 - count, 5)]
        assert sum(len(part.doc_ids()) for part in former.parts) == count


def test_former_segments_are_let_go() -> None:
    index = MemoryIndex(DIMENSION, ANALYZER)
    put(index, a_document("a", "word"))
    former = weakref.ref(index._generation)
    put(index, a_document("a", "word"))
    gc.collect()
    assert former() is None


def test_of_two_puts_of_one_id_the_last_counts() -> None:
    index = MemoryIndex(DIMENSION, ANALYZER)
    batch = Batch(
        (a_document("a", "one", "two"), a_document("b", "word"), a_document("a", "three"))
    )
    index.apply(batch, index.pack(batch))
    assert index.count() == (2, 2)
    assert hits_of(index, [a_query("one two", mode="sparse")]) == [[]]
    assert ids(hits_of(index, [a_query("three", mode="sparse")])[0]) == ["a"]


def test_what_is_prepared_is_not_there_before_it_is_committed() -> None:
    index = MemoryIndex(DIMENSION, ANALYZER)
    first = index.prepare(Batch((a_document("a", "one"),)))
    second = index.prepare(Batch((a_document("a", "two"),)))
    assert index.count() == (0, 0)
    index.commit(second)
    index.commit(first)
    assert [hit.text for hit in hits_of(index, [a_query("one two")])[0]] == ["one"]
