"""Readers beside a writer: each sees whole batches, never less than was there before it asked."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from rag.documents import Batch, Hit
from rag.memory.generation import Generation
from rag.memory.index import MemoryIndex

from tests.unit.rag.index_contract import ANALYZER, DIMENSION, a_document, a_query, hits_of
from tests.unit.rag.memory.test_rag_memory_properties import merging, policies

QUERIES = [a_query("common", mode=mode, top_k=200) for mode in ("hybrid", "dense", "sparse")]


def a_version(version: int, size: int, former: int) -> Batch:
    """All documents of this version, and none of the one before. Some are put again under the
    same id, some under a new one beside the deletion of the old."""
    return Batch(
        put=tuple(
            a_document(
                f"stays{at}" if at % 2 else f"v{version}-{at}",
                f"common version{version}",
                "common more",
                version=version,
            )
            for at in range(size)
        ),
        delete=tuple(f"stays{at}" if at % 2 else f"v{version - 1}-{at}" for at in range(former)),
    )


def version_of(hits: Sequence[Hit], sizes: Sequence[int]) -> int:
    """Which one is seen, and that it is that one alone, and whole."""
    versions = {hit.metadata["version"] for hit in hits}
    assert len(versions) == 1, versions
    version = int(versions.pop())
    assert len({hit.doc_id for hit in hits}) == sizes[version]
    assert len({(hit.doc_id, hit.position) for hit in hits}) == len(hits) == 2 * sizes[version]
    return version


@contextmanager
def many_switches() -> Iterator[None]:
    """Threads take turns a thousand times as often, where they could see what is half done."""
    former = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(former)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=25), policies)
def test_a_reader_sees_whole_batches_only(sizes: list[int], policy: tuple[int, int, float]) -> None:
    index = MemoryIndex(DIMENSION, ANALYZER)
    index.apply(a_version(0, sizes[0], 0))
    written, done, failures = [0], threading.Event(), list[Exception]()

    def read() -> None:
        seen = 0
        try:
            while not done.is_set() or seen < len(sizes) - 1:
                before = written[0]
                found = {version_of(hits, sizes) for hits in hits_of(index, QUERIES)}
                assert len(found) == 1, found  # the searches of one call are of one moment
                assert found.pop() >= max(before, seen)
                seen = max(before, seen)
        except Exception as error:  # noqa: BLE001  # told by the test
            failures.append(error)

    def count() -> None:
        try:
            while not done.is_set():
                documents, chunks = index.count()
                assert documents in sizes
                assert chunks == 2 * documents
        except Exception as error:  # noqa: BLE001  # told by the test
            failures.append(error)

    readers = [threading.Thread(target=each) for each in (read, read, count)]
    with merging(policy), many_switches():
        for reader in readers:
            reader.start()
        for version in range(1, len(sizes)):
            index.apply(a_version(version, sizes[version], sizes[version - 1]))
            written[0] = version
        done.set()
        for reader in readers:
            reader.join()
    assert failures == []


def test_writers_take_turns() -> None:
    index = MemoryIndex(DIMENSION, ANALYZER)

    def write(writer: int) -> None:
        for at in range(20):
            index.apply(
                Batch((a_document(f"{writer}-{at}", "common"), a_document("one", "common")))
            )

    writers = [threading.Thread(target=write, args=(at,)) for at in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert index.count() == (81, 81)
    assert len(hits_of(index, [a_query("common", mode="sparse", top_k=200)])[0]) == 81


def test_a_reader_does_not_wait_for_a_writer() -> None:
    index = MemoryIndex(DIMENSION, ANALYZER)
    index.apply(a_version(0, 3, 0))
    with index._writing:  # as while a commit merges what is large
        assert version_of(hits_of(index, QUERIES)[0], [3]) == 0
        index.prepare(a_version(1, 3, 3))
        assert index.count() == (3, 6)


class Watched(MemoryIndex):
    """Tells each generation that readers could have taken; and lets writers in between two looks
    of one reader."""

    def __init__(self) -> None:
        self.shown: list[Generation] = []
        self.next: Batch | None = None
        super().__init__(DIMENSION, ANALYZER)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "_generation" and isinstance(value, Generation):
            self.shown.append(value)

    def __getattribute__(self, name: str) -> object:
        value = super().__getattribute__(name)
        if name == "_generation" and self.next is not None:
            batch, self.next = self.next, None
            self.apply(batch)
        return value


def test_no_other_generation_is_ever_shown() -> None:
    index = Watched()
    index.apply(a_version(0, 3, 0))
    index.shown.clear()
    index.apply(a_version(1, 5, 3))
    assert {(each.documents, each.chunks) for each in index.shown} == {(5, 10)}


def test_a_reader_looks_once() -> None:
    index = Watched()
    index.apply(a_version(0, 3, 0))
    index.next = a_version(1, 5, 3)
    assert index.count() == (3, 6)
    index.next = a_version(2, 4, 5)
    assert [version_of(hits, [3, 5, 4]) for hits in hits_of(index, QUERIES)] == [1, 1, 1]
    index.next = a_version(3, 1, 4)
    assert len(index.doc_ids()) == 4
