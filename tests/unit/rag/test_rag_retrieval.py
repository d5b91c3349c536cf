"""The way from a question to hits: what is embedded, what goes together, who hears of errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest
from rag.documents import Hit, Metadata, Query, Vectors
from rag.errors import (
    EmbedderError,
    InvalidError,
    NotReadyError,
    RagError,
    StorageError,
    UnknownIndexError,
)
from rag.retrieval import BATCH, Retriever


def a_hit(name: str, score: float) -> Hit:
    return Hit(name, f"{name}#0", 0, 0, 1, name, {}, score, score, None, "dense_only")


class FakeIndex:
    """Answers with the query's own text; a gate holds it up."""

    def __init__(self, name: str = "one") -> None:
        self.name = name
        self.batches: list[list[Query]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.error: Exception | None = None

    def search(self, queries: Sequence[Query]) -> Iterable[list[Hit]]:
        assert threading.current_thread() is not threading.main_thread()
        self.batches.append(list(queries))
        self.entered.release()
        self.gate.wait(5)
        if self.error is not None:
            raise self.error
        for query in queries:
            if query.text == "broken":
                raise ValueError("a broken query")
        return [[a_hit(query.text, 1 / (at + 1)) for at in range(query.top_k)] for query in queries]


class OneByOne(FakeIndex):
    """Finds what it answers to one query after the other; `broken` is seen only then."""

    def __init__(self) -> None:
        super().__init__()
        self.second = threading.Event()
        """Until then only the first of a batch is found."""

    def search(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        self.batches.append(list(queries))
        self.entered.release()
        self.gate.wait(5)
        for at, query in enumerate(queries):
            if query.text == "broken":
                raise ValueError("a broken query")
            if at == 1:
                self.second.wait(5)
            yield [a_hit(query.text, 1.0)]


class FakeStore:
    def __init__(self, *indexes: FakeIndex, elsewhere: bool = False) -> None:
        self._indexes = {index.name: index for index in indexes}
        self.elsewhere = elsewhere
        self.asked_in: set[str] = set()

    def get(self, name: str) -> FakeIndex:
        self.asked_in.add(threading.current_thread().name.partition("_")[0])
        if name not in self._indexes:
            raise UnknownIndexError(name)
        return self._indexes[name]


class FakeEmbedder:
    model, dimension = "a-model", 2

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.error: RagError | None = None

    async def embed_query(self, text: str) -> Vectors:
        self.embedded.append(text)
        if self.error is not None:
            raise self.error
        return np.array([1, 0], np.float32)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        raise AssertionError("a query is no document")

    async def close(self) -> None: ...


class ByLength:
    """A reranker that likes long texts."""

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        return [float(len(text)) for text in texts]


@pytest.fixture
def index() -> FakeIndex:
    return FakeIndex()


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
async def retriever(index: FakeIndex, embedder: FakeEmbedder):
    retriever = Retriever(FakeStore(index), embedder, threads=1)  # type: ignore[arg-type]
    yield retriever
    index.gate.set()
    await retriever.close()


async def until_searching(index: FakeIndex) -> None:
    assert await asyncio.to_thread(index.entered.acquire, timeout=5)


async def waiting(retriever: Retriever, *texts: str, name: str = "one"):
    """Searches that wait for the one thread, in this order."""
    tasks = []
    for text in texts:
        tasks.append(asyncio.create_task(retriever.retrieve(name, text, top_k=1)))
    for _ in range(100):
        queues = retriever._searches._queues.values()
        if sum(len(queue) for index, queue in queues if index.name == name) == len(texts):
            return tasks
        await asyncio.sleep(0.01)
    raise AssertionError("they do not wait")


async def test_what_is_asked_for_reaches_the_index(
    retriever: Retriever, index: FakeIndex, embedder: FakeEmbedder
) -> None:
    wanted: Metadata = {"kind": "a"}
    found = await retriever.retrieve(
        "one", "question", top_k=3, mode="dense", metadata_filter=wanted
    )
    assert [hit.doc_id for hit in found.hits] == ["question"] * 3
    assert set(found.timings) == {"embed", "search"}
    ((query,),) = index.batches
    assert (query.text, query.top_k, query.mode) == ("question", 3, "dense")
    assert query.metadata_filter == wanted
    assert query.vector is not None
    assert embedder.embedded == ["question"]


async def test_words_alone_need_no_vector(
    retriever: Retriever, index: FakeIndex, embedder: FakeEmbedder
) -> None:
    found = await retriever.retrieve("one", "words", top_k=1, mode="sparse")
    assert index.batches[0][0].vector is None
    assert embedder.embedded == []
    assert set(found.timings) == {"search"}


@pytest.mark.parametrize(("elsewhere", "thread"), [(False, "MainThread"), (True, "lookup")])
async def test_only_a_store_elsewhere_is_asked_in_a_thread(
    index: FakeIndex, embedder: FakeEmbedder, elsewhere: bool, thread: str
) -> None:
    """What is in memory needs no thread, and what is not must not hold up the others."""
    store = FakeStore(index, elsewhere=elsewhere)
    retriever = Retriever(store, embedder)  # type: ignore[arg-type]
    await retriever.retrieve("one", "where", top_k=1)
    await retriever.close()
    assert store.asked_in == {thread}


async def test_nothing_is_embedded_for_an_unknown_index(
    retriever: Retriever, embedder: FakeEmbedder
) -> None:
    with pytest.raises(UnknownIndexError):
        await retriever.retrieve("nothing", "question", top_k=1)
    with pytest.raises(UnknownIndexError):
        await retriever.check("nothing")
    await retriever.check("one")
    assert embedder.embedded == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"metadata_filter": {1: "x"}}, ("metadata_filter",)),
        ({"metadata_filter": ["x"]}, ("metadata_filter",)),
        ({"metadata_filter": {"x": object()}}, ("metadata_filter", "x")),
        ({"mode": "magic"}, ("mode",)),
        ({"rerank": True}, ("rerank",)),
    ],
)
async def test_what_does_not_fit_is_named(
    retriever: Retriever, embedder: FakeEmbedder, arguments: dict, field: tuple
) -> None:
    with pytest.raises(InvalidError) as caught:
        await retriever.retrieve("one", "question", top_k=1, **arguments)
    assert caught.value.field == field
    assert embedder.embedded == []


async def test_an_embedder_that_is_down_is_told(
    retriever: Retriever, index: FakeIndex, embedder: FakeEmbedder
) -> None:
    embedder.error = EmbedderError("down")
    with pytest.raises(EmbedderError):
        await retriever.retrieve("one", "question", top_k=1)
    assert index.batches == []


async def test_what_waits_goes_together(retriever: Retriever, index: FakeIndex) -> None:
    index.gate.clear()
    first = asyncio.create_task(retriever.retrieve("one", "first", top_k=1))
    await until_searching(index)
    others = await waiting(retriever, "second", "third", "fourth")
    index.gate.set()
    found = await asyncio.gather(first, *others)
    assert [[query.text for query in batch] for batch in index.batches] == [
        ["first"],
        ["second", "third", "fourth"],
    ]
    assert [each.hits[0].doc_id for each in found] == ["first", "second", "third", "fourth"]


async def one_of_three_is_broken(retriever: Retriever, index: FakeIndex) -> None:
    """They wait together for the one thread; only who asked the broken one is told."""
    index.gate.clear()
    first = asyncio.create_task(retriever.retrieve("one", "first", top_k=1))
    await until_searching(index)
    others = await waiting(retriever, "good", "broken", "fine")
    index.gate.set()
    await first
    good, broken, fine = await asyncio.gather(*others, return_exceptions=True)
    assert not isinstance(good, BaseException)
    assert not isinstance(fine, BaseException)
    assert (good.hits[0].doc_id, fine.hits[0].doc_id) == ("good", "fine")
    assert isinstance(broken, ValueError)


async def test_an_error_reaches_only_who_caused_it(retriever: Retriever, index: FakeIndex) -> None:
    await one_of_three_is_broken(retriever, index)
    assert [len(batch) for batch in index.batches] == [1, 3, 1, 1, 1]
    assert (await retriever.retrieve("one", "after", top_k=1)).hits[0].doc_id == "after"


async def test_each_of_a_batch_is_answered_as_soon_as_it_is_found(embedder: FakeEmbedder) -> None:
    index = OneByOne()
    index.gate.clear()
    retriever = Retriever(FakeStore(index), embedder, threads=1)  # type: ignore[arg-type]
    first = asyncio.create_task(retriever.retrieve("one", "first", top_k=1))
    await until_searching(index)
    second, third = await waiting(retriever, "second", "third")
    index.gate.set()
    await first
    assert (await asyncio.wait_for(second, 5)).hits[0].doc_id == "second"
    assert not third.done()
    index.second.set()
    assert (await third).hits[0].doc_id == "third"
    assert [len(batch) for batch in index.batches] == [1, 2]
    await retriever.close()


async def test_what_is_found_before_an_error_is_not_searched_again(embedder: FakeEmbedder) -> None:
    index = OneByOne()
    index.second.set()
    retriever = Retriever(FakeStore(index), embedder, threads=1)  # type: ignore[arg-type]
    await one_of_three_is_broken(retriever, index)
    searched = [[query.text for query in batch] for batch in index.batches]
    assert searched[1:] == [["good", "broken", "fine"], ["broken"], ["fine"]]
    await retriever.close()


async def test_a_store_that_is_down_is_not_asked_again_for_each(
    retriever: Retriever, index: FakeIndex
) -> None:
    index.gate.clear()
    index.error = StorageError("down")
    first = asyncio.create_task(retriever.retrieve("one", "first", top_k=1))
    await until_searching(index)
    others = await waiting(retriever, "second", "third")
    index.gate.set()
    found = await asyncio.gather(first, *others, return_exceptions=True)
    assert all(isinstance(each, StorageError) for each in found)
    assert len(index.batches) == 2


async def test_who_gives_up_harms_nobody(retriever: Retriever, index: FakeIndex) -> None:
    index.gate.clear()
    first = asyncio.create_task(retriever.retrieve("one", "first", top_k=1))
    await until_searching(index)
    given_up, kept = await waiting(retriever, "given up", "kept")
    given_up.cancel()
    first.cancel()
    index.gate.set()
    assert (await kept).hits[0].doc_id == "kept"
    assert [query.text for query in index.batches[1]] == ["kept"]
    assert (await asyncio.gather(first, given_up, return_exceptions=True)) != [None, None]
    assert (await retriever.retrieve("one", "after", top_k=1)).hits


async def test_indexes_take_turns(embedder: FakeEmbedder) -> None:
    """One that is asked a lot does not keep another waiting."""
    busy, calm = FakeIndex("busy"), FakeIndex("calm")
    busy.gate.clear()
    retriever = Retriever(FakeStore(busy, calm), embedder, threads=1)  # type: ignore[arg-type]
    first = asyncio.create_task(retriever.retrieve("busy", "first", top_k=1))
    await until_searching(busy)
    many = await waiting(retriever, *(f"busy{at}" for at in range(40)), name="busy")
    (one,) = await waiting(retriever, "calm", name="calm")
    finished: list[str] = []
    one.add_done_callback(lambda _: finished.append("calm"))
    many[-1].add_done_callback(lambda _: finished.append("last of the busy"))
    busy.gate.set()
    await asyncio.gather(first, one, *many)
    assert finished == ["calm", "last of the busy"]
    assert [len(batch) for batch in busy.batches] == [1, *[BATCH] * (40 // BATCH)]
    await retriever.close()


async def test_a_reranker_reads_more_and_decides(index: FakeIndex, embedder: FakeEmbedder) -> None:
    hits = [a_hit("short", 0.9), a_hit("the longest", 0.5), a_hit("longer", 0.7)]
    index.search = lambda queries: [hits for _ in queries]  # type: ignore[method-assign]
    retriever = Retriever(FakeStore(index), embedder, ByLength())  # type: ignore[arg-type]
    found = await retriever.retrieve("one", "question", top_k=2, rerank=True)
    assert [(hit.doc_id, hit.score) for hit in found.hits] == [("the longest", 11), ("longer", 6)]
    assert found.hits[0].dense_score == 0.5
    assert set(found.timings) == {"embed", "search", "rerank"}
    plain = await retriever.retrieve("one", "question", top_k=2)
    assert [hit.doc_id for hit in plain.hits] == ["short", "the longest"]
    await retriever.close()


async def test_what_waits_at_the_end_is_refused(index: FakeIndex, embedder: FakeEmbedder) -> None:
    retriever = Retriever(FakeStore(index), embedder, threads=1)  # type: ignore[arg-type]
    index.gate.clear()
    first = asyncio.create_task(retriever.retrieve("one", "first", top_k=1))
    await until_searching(index)
    (second,) = await waiting(retriever, "second")
    closing = asyncio.create_task(retriever.close())
    with pytest.raises(NotReadyError):
        await second
    index.gate.set()
    assert (await first).hits
    await closing
