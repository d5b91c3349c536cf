"""Documents through the stages into files, with an embedder that tells what it was asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rag.documents import PROBE, Batch, Chunk, Document, id_of
from rag.errors import (
    EmbedderError,
    InvalidError,
    NotWritableError,
    StorageFullError,
    UnknownIndexError,
)
from rag.ingest import chunking
from rag.ingest.chunking import Chunker, Cut
from rag.ingest.results import DocumentResult, NewDocument, Progress
from rag.ingest.service import Ingester
from rag.ingest.settings import ChunkOptions, IngestSettings

from tests.unit.rag.ingest.doubles import FakeEmbedder, HookedIndex, HookedStore
from tests.unit.rag.storage.samples import found, held, open_store

SETTINGS = IngestSettings(ChunkOptions(32, 0), group_documents=3, write_wait=0.2)
"""Groups are small, so that a few documents are several."""


class World:
    def __init__(self, folder: Path) -> None:
        self.local = open_store(folder)
        self.store = HookedStore(self.local)
        self.embedder = FakeEmbedder()
        self.ingester = self.with_settings()

    def with_settings(self, **settings: Any) -> Ingester:
        return Ingester(self.store, self.embedder, replace(SETTINGS, **settings))

    async def steps(self, *documents: NewDocument, name: str = "a") -> list[Progress]:
        return [each async for each in self.ingester.put(name, documents)]

    async def put(self, *documents: NewDocument, name: str = "a") -> list[DocumentResult]:
        return [each for step in await self.steps(*documents, name=name) for each in step.results]

    async def update(self, *documents: NewDocument) -> list[DocumentResult]:
        return list((await self.ingester.update("a", documents)).results)

    def texts(self, name: str = "a") -> list[str]:
        return list(held(self.local, name).values())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.local.close()


@pytest.fixture
def stumbles(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """Have what cuts texts raise this at that one."""

    def have(text: str, fault: Exception) -> None:
        real = Chunker.cut

        def cut(self: Chunker, document: Document, *more: Any) -> Cut:
            if document.text == text:
                raise fault
            return real(self, document, *more)

        monkeypatch.setattr(Chunker, "cut", cut)

    return have


def new(text: str, doc_id: str = "", **metadata: Any) -> NewDocument:
    return NewDocument(text, metadata, doc_id)


def some(count: int, name: str = "text") -> list[NewDocument]:
    return [new(f"{name} {at}") for at in range(count)]


def statuses(results: Sequence[DocumentResult]) -> list[str]:
    return [each.status for each in results]


class TestPut:
    async def test_progress_is_told_group_by_group(self, world: World) -> None:
        steps = await world.steps(*some(7))
        assert [(each.done, each.total, len(each.results)) for each in steps] == [
            (3, 7, 3),
            (6, 7, 3),
            (7, 7, 1),
        ]
        results = [each for step in steps for each in step.results]
        assert [each.document.text for each in results] == [f"text {at}" for at in range(7)]
        assert [each.doc_id for each in results] == [id_of(f"text {at}") for at in range(7)]
        assert statuses(results) == ["created"] * 7
        assert world.texts() == [f"text {at}" for at in range(7)]
        assert found(world.local, "a", "text 5", top_k=1) == ["text 5"]

    async def test_what_is_told_is_durable(self, world: World) -> None:
        async with aclosing(world.ingester.put("a", some(7))) as steps:
            async for each in steps:
                assert world.local.get("a").count()[0] >= each.done

    async def test_nothing_makes_no_index(self, world: World) -> None:
        assert await world.steps() == []
        assert statuses(await world.put(new(" "))) == ["failed"]
        assert world.store.names() == []

    async def test_ten_thousand(self, world: World) -> None:
        world.ingester = Ingester(world.store, world.embedder, IngestSettings())
        results = await world.put(*some(10_000))
        assert statuses(results) == ["created"] * 10_000
        assert [each.document.text for each in results] == [f"text {at}" for at in range(10_000)]
        assert world.local.get("a").count() == (10_000, 10_000)
        assert max(map(len, world.embedder.calls)) == 256
        with pytest.raises(InvalidError, match="10001 documents are more than the 10000"):
            await world.put(*some(10_001))

    async def test_the_same_again_is_unchanged(self, world: World) -> None:
        await world.put(*some(4))
        asked = len(world.embedder.calls)
        assert statuses(await world.put(*some(5))) == ["unchanged"] * 4 + ["created"]
        assert world.embedder.calls[asked:] == [["text 4"]]

    async def test_the_same_twice_in_a_request(self, world: World) -> None:
        results = await world.put(new("x"), new("y"), new("x"), new("x", n=1), new("x", n=1))
        assert statuses(results) == ["created", "created", "unchanged", "updated", "unchanged"]
        page = world.local.get("a").page(limit=9, offset=0)
        assert [(each.text, each.metadata) for each in page.documents] == [
            ("x", {"n": 1}),
            ("y", {}),
        ]

    async def test_the_same_text_in_two_documents_is_embedded_once(self, world: World) -> None:
        await world.put(new("x"), new("y"))
        world.embedder.calls.clear()
        await world.update(new("same", id_of("x")), new("same", id_of("y")))
        assert world.embedder.asked == ["same"]
        await world.put(new("more of it. " * 60))
        assert len(set(world.embedder.asked)) == len(world.embedder.asked)

    async def test_other_metadata_are_not_embedded_again(self, world: World) -> None:
        text = " ".join(f"Sentence {at} is one of many." for at in range(40))
        await world.put(new(text, when="monday"))
        world.embedder.calls.clear()
        assert statuses(await world.put(new(text, when="tuesday"))) == ["updated"]
        assert world.embedder.calls == []
        page = world.local.get("a").page(limit=2, offset=0)
        assert [each.metadata for each in page.documents] == [{"when": "tuesday"}]
        await world.put(new(text, when="tuesday", title="Many"))
        assert len(world.embedder.asked) == world.local.get("a").count()[1]

    async def test_metadata_that_are_null(self, world: World) -> None:
        (result,) = await world.put(NewDocument("x", None))
        assert (result.status, result.document.metadata) == ("created", {})

    async def test_two_puts_to_one_new_index(self, world: World) -> None:
        one, other = await asyncio.gather(
            world.put(*some(10, "one")), world.put(*some(10, "other"), new("one 3"))
        )
        assert statuses(one) == ["created"] * 10
        assert statuses(other)[:10] == ["created"] * 10
        assert sorted(world.texts()) == sorted(
            f"{name} {at}" for name in ("one", "other") for at in range(10)
        )

    async def test_of_a_large_document(self, world: World) -> None:
        text = " ".join(f"Sentence {at} is one of many." for at in range(3000))
        (result,) = await world.put(new(text))
        assert result.status == "created"
        assert world.local.get("a").count()[1] == len(world.embedder.asked) - 1 > 300


class TestFaults:
    @pytest.mark.parametrize(
        ("bad", "field", "words"),
        [
            (new(" \n\t"), ("text",), "must not be empty"),
            (new("half \ud800"), ("text",), "surrogate"),
            (new("long " * 300), ("text",), "of 1500 bytes is longer than 1000"),
            (new("é" * 600), ("text",), "of 1200 bytes is longer than 1000"),
            (new("x", n=float("nan")), ("metadata",), "JSON values"),
            (new("x", n=b"bytes"), ("metadata",), "JSON values"),
            (new("x", n="\ud800"), ("metadata",), "JSON values"),
            (new("x", n="a" * 200), ("metadata",), "longer than 100"),
            (new("x", split_type="code"), ("metadata", "language"), "language"),
            (new("x", split_type="html"), ("metadata", "split_type"), "markdown"),
        ],
    )
    async def test_one_bad_document_among_good_ones(
        self, world: World, bad: NewDocument, field: tuple[str, ...], words: str
    ) -> None:
        world.ingester = world.with_settings(max_text_bytes=1000, max_metadata_bytes=100)
        results = await world.put(*some(2), bad, *some(5))
        assert statuses(results) == [
            *["created"] * 2,
            "failed",
            *["unchanged"] * 2,
            *["created"] * 3,
        ]
        error = results[2].error
        assert isinstance(error, InvalidError)
        assert error.field == ("body", "documents", 2, *field)
        assert words in error.detail
        assert len(world.texts()) == 5

    @pytest.mark.parametrize("fault", [RuntimeError("a secret"), RecursionError(), MemoryError()])
    async def test_a_text_that_cannot_be_cut(
        self,
        world: World,
        stumbles: Callable[[str, Exception], None],
        fault: Exception,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        stumbles("stone", fault)
        results = await world.put(*some(4), new("stone"), *some(7))
        assert (
            statuses(results) == [*["created"] * 4, "failed", *["unchanged"] * 4] + ["created"] * 3
        )
        assert results[4].error is not None
        assert (results[4].error.status, results[4].error.detail) == (
            500,
            "This text cannot be cut into chunks; the service's log says why.",
        )
        assert world.texts() == [f"text {at}" for at in range(7)]
        (told,) = [each for each in caplog.records if each.exc_info]
        assert told.exc_info is not None
        assert told.exc_info[1] is fault

    async def test_an_update_that_cannot_be_cut(
        self, world: World, stumbles: Callable[[str, Exception], None]
    ) -> None:
        await world.put(*some(3))
        stumbles("stone", RuntimeError())
        results = await world.update(
            new("one", id_of("text 0")), new("stone", id_of("text 1")), new("two", id_of("text 2"))
        )
        assert statuses(results) == ["updated", "failed", "updated"]
        assert world.texts() == ["one", "text 1", "two"]

    async def test_metadata_that_nest_too_deep(self, world: World) -> None:
        deep: Any = 1
        for _ in range(100_000):
            deep = [deep]
        assert statuses(await world.put(new("x", n=deep), new("y"))) == ["failed", "created"]

    async def test_a_group_that_the_embedder_refuses(self, world: World) -> None:
        world.embedder.refuses = lambda texts: "text 4" in texts
        results = await world.put(*some(9))
        assert statuses(results) == ["created"] * 3 + ["failed"] * 3 + ["created"] * 3
        assert isinstance(results[4].error, EmbedderError)
        assert len(world.texts()) == 6

    async def test_an_embedder_that_refuses_everything(self, world: World) -> None:
        world.embedder.refuses = lambda texts: texts != [PROBE]
        results = await world.put(*some(60))
        assert statuses(results) == ["failed"] * 60
        assert len(world.embedder.calls) == 2
        assert {each.error.detail for each in results if each.error} == {
            "refused call 1",
            "refused call 2",
        }
        assert world.store.names() == []

    async def test_refusals_that_are_not_in_a_row(self, world: World) -> None:
        world.embedder.refuses = lambda texts: len(world.embedder.calls) in (1, 4, 6)
        results = await world.put(*some(18))
        assert [statuses(results)[at] for at in range(0, 18, 3)] == [
            *("failed", "created", "failed"),
            *("created", "failed", "created"),
        ]

    async def test_what_needs_no_embedding_is_stored_without_an_embedder(
        self, world: World
    ) -> None:
        await world.put(*some(3, "old"))
        world.embedder.refuses = lambda _: True
        changed = [new(each.text, n=1) for each in some(3, "old")]
        results = await world.put(*some(6), *changed, *some(3, "late"))
        assert statuses(results) == ["failed"] * 6 + ["updated"] * 3 + ["failed"] * 3
        assert len(world.embedder.calls) == 2 + 2

    async def test_what_came_before_and_failed_is_not_unchanged(self, world: World) -> None:
        world.embedder.refuses = lambda texts: "x" in texts
        results = await world.put(*some(2), new("x"), *some(1), new("x"), new("y"))
        assert statuses(results) == ["failed"] * 5 + ["created"]
        assert results[4].error is results[2].error

    async def test_a_full_disk_breaks_off(self, world: World) -> None:
        def before(batch: Batch) -> None:
            if any(each.document.text == "text 4" for each in batch.put):
                raise StorageFullError("no space left")

        world.store.before = before
        results = await world.put(*some(60))
        assert statuses(results) == ["created"] * 3 + ["failed"] * 57
        assert {each.error.status for each in results[3:] if each.error} == {507}
        assert len(world.texts()) == 3
        assert len(world.embedder.calls) < 10, "embedded for nothing"

    async def test_an_index_that_is_dropped_meanwhile(self, world: World) -> None:
        """Is made anew by what is put, and stays away of what is updated."""
        await world.put(*some(30, "old"))
        async with aclosing(world.ingester.put("a", some(30))) as steps:
            await anext(steps)
            world.local.drop("a")
            rest = [each async for step in steps async for each in _each(step.results)]
        assert statuses(rest) == ["created"] * 27
        assert set(world.texts()) >= {f"text {at}" for at in range(6, 30)}
        assert not any(each.startswith("old") for each in world.texts())

        def drop(_: Batch) -> None:
            world.local.drop("a")

        world.store.before = drop
        (result,) = await world.update(new("x", id_of("text 29")))
        assert result.error is not None
        assert (result.status, result.error.status) == ("failed", 404)
        assert world.local.names() == []

    @pytest.mark.parametrize("call", ["stored", "texts", "vectors", "apply"])
    async def test_dropped_before_any_step_of_a_put(
        self, world: World, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        await world.put(*some(3))
        await world.update(new("another", id_of("text 1")))
        real, dropped = getattr(HookedIndex, call), list[int]()

        def racing(self: HookedIndex, *arguments: Any) -> Any:
            if not dropped:
                dropped.append(1)
                world.local.drop("a")
            return real(self, *arguments)

        monkeypatch.setattr(HookedIndex, call, racing)
        documents = [new("text 0", n=1), new("text 1"), new("text 3")]
        assert "failed" not in statuses(await world.put(*documents))
        assert dropped
        assert sorted(world.texts()) == ["text 0", "text 1", "text 3"]

    async def test_an_index_that_is_always_dropped(self, world: World) -> None:
        world.store.before = lambda _: world.local.drop("a")
        (result,) = await world.put(new("x"))
        assert result.error is not None
        assert (result.error.status, result.error.retry_after) == (503, 1)

    async def test_what_nobody_thought_of_is_raised(self, world: World) -> None:
        """Whatever stage it is of; nobody waits for ever."""

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        await world.put(new("x"))
        world.store.before = broken
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(world.put(*some(30)), 10)
        world.store.before = lambda _: None
        world.embedder.refuses = broken
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(world.put(*some(30)), 10)
        world.embedder.refuses = lambda _: False
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HookedIndex, "vectors", broken)
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(world.put(*some(30), new("x", n=1)), 10)


async def _each(results: Sequence[DocumentResult]) -> Any:
    for each in results:
        yield each


class TestRefused:
    async def test_the_others_go_in(self, world: World) -> None:
        world.embedder.dislikes = lambda text: "sour" in text
        world.ingester = world.with_settings(group_documents=16)
        documents = some(30)
        documents[4] = new("sweet words. " * 60 + "sour words. " * 20)
        documents[21] = new("sour")
        results = await world.put(*documents)
        assert [at for at, each in enumerate(results) if each.status == "failed"] == [4, 21]
        assert {each.status for each in results} == {"created", "failed"}
        assert results[4].error is not None
        assert results[4].error.detail == "it is too long"
        assert world.texts() == [each.document.text for each in results if each.error is None]

    async def test_who_takes_nothing_is_not_asked_for_each(self, world: World) -> None:
        world.embedder.dislikes = lambda _: True
        assert statuses(await world.put(*some(30))) == ["failed"] * 30
        assert len(world.embedder.calls) == 2 * 2, "each of two groups, and then the probe"

    async def test_down_is_not_refusing(self, world: World) -> None:
        world.embedder.dislikes = lambda text: text == "text 1"
        world.embedder.refuses = lambda texts: len(texts) == 1 and texts != [PROBE]
        results = await world.put(*some(3))
        assert statuses(results) == ["failed"] * 3
        assert {each.error.detail for each in results if each.error} == {"refused call 3"}


class TestAnotherTextUnderTheId:
    async def test_the_text_of_the_id_goes_beside_it(self, world: World) -> None:
        await world.put(new("x"))
        await world.update(new("y", id_of("x")))
        again = f"{id_of('x')}-2"
        (result,) = await world.put(new("x"))
        assert (result.doc_id, result.status) == (again, "created")
        assert held(world.local, "a") == {id_of("x"): "y", again: "x"}
        assert statuses(await world.put(new("x"), new("x"))) == ["unchanged"] * 2
        world.embedder.calls.clear()
        (result,) = await world.put(new("x", n=1))
        assert (result.doc_id, result.status) == (again, "updated")
        assert world.embedder.calls == []
        await world.update(new("z", again))
        assert [each.doc_id for each in await world.put(new("x"))] == [f"{id_of('x')}-3"]
        assert held(world.local, "a") == {id_of("x"): "y", again: "z", f"{id_of('x')}-3": "x"}


class TestUpdate:
    async def test_what_is_deleted_while_it_is_embedded_stays_gone(self, world: World) -> None:
        await world.put(new("x"), new("y"))
        embedding, go_on = asyncio.Event(), asyncio.Event()

        async def hold(_: Sequence[str]) -> None:
            embedding.set()
            await go_on.wait()

        world.embedder.hold = hold
        changed = [new("z", id_of("x")), new("w", id_of("y")), new("z", id_of("x"))]
        work = asyncio.ensure_future(world.update(*changed))
        await asyncio.wait_for(embedding.wait(), 5)
        deleted = await asyncio.wait_for(world.ingester.delete("a", [id_of("x")]), 5)
        assert deleted.deleted == (id_of("x"),)
        go_on.set()
        assert statuses(await work) == ["not_found", "updated", "not_found"]
        assert held(world.local, "a") == {id_of("y"): "w"}

    async def test_nothing_is_deleted_between_its_look_and_its_writing(self, world: World) -> None:
        await world.put(new("x"))
        writing, go_on = threading.Event(), threading.Event()

        def before(batch: Batch) -> None:
            if batch.put:
                writing.set()
                assert go_on.wait(10)

        world.store.before = before
        work = asyncio.ensure_future(world.update(new("y", id_of("x"))))
        await asyncio.to_thread(writing.wait, 10)
        deletion = asyncio.ensure_future(world.ingester.delete("a", [id_of("x")]))
        done, _ = await asyncio.wait({deletion}, timeout=0.05)
        go_on.set()
        assert not done
        assert statuses(await work) == ["updated"]
        assert (await deletion).deleted == (id_of("x"),)
        assert world.texts() == []

    async def test_only_what_changed_is_embedded(self, world: World) -> None:
        sentences = [
            f"Sentence {at} is one of a dozen or so, and no more than that." for at in range(12)
        ]
        text = " ".join(sentences)
        await world.put(new(text))
        chunks = world.local.get("a").count()[1]
        assert chunks >= 4
        world.embedder.calls.clear()
        changed = text.replace("Sentence 11 is", "Sentence 11 was")
        results = await world.update(new(changed, id_of(text)))
        assert statuses(results) == ["updated"]
        assert results[0].doc_id == id_of(text)
        assert len(world.embedder.asked) == 1
        assert "Sentence 11 was" in world.embedder.asked[0]
        assert held(world.local, "a") == {id_of(text): changed}
        assert world.local.get("a").count() == (1, chunks)

    async def test_each_has_its_answer(self, world: World) -> None:
        await world.put(new("x"), new("y"))
        results = await world.update(
            new("x", id_of("x")),
            new("z", id_of("y")),
            new("z", "nobody"),
            new("z"),
            new(" ", id_of("x")),
            new("z", id_of("y")),
            new("w", id_of("y")),
        )
        assert statuses(results) == [
            *("unchanged", "updated", "not_found", "not_found", "failed"),
            *("unchanged", "updated"),
        ]
        assert held(world.local, "a") == {id_of("x"): "x", id_of("y"): "w"}

    async def test_an_unknown_index(self, world: World) -> None:
        with pytest.raises(UnknownIndexError):
            await world.update(new("x", "y"))
        with pytest.raises(UnknownIndexError):
            await world.ingester.delete("a", ["x"])

    async def test_too_many(self, world: World) -> None:
        world.ingester = world.with_settings(max_documents=2)
        with pytest.raises(InvalidError):
            await world.update(*some(3))


async def test_each_id_is_deleted_once(world: World) -> None:
    await world.put(*some(3))
    ids = [id_of("text 0"), "nobody", id_of("text 2"), id_of("text 0"), "nobody"]
    result = await world.ingester.delete("a", ids)
    assert result.deleted == (ids[0], ids[2])
    assert result.not_found == ("nobody",)
    assert world.texts() == ["text 1"]
    assert (await world.ingester.delete("a", ids)).deleted == ()


class TestWaiting:
    async def test_a_write_waits_for_the_files(self, world: World) -> None:
        world.ingester = world.with_settings(write_wait=10)
        world.store.is_writable = False
        work = asyncio.ensure_future(world.put(new("x")))
        done, _ = await asyncio.wait({work}, timeout=0.05)
        assert not done
        world.store.is_writable = True
        assert statuses(await work) == ["created"]

    async def test_not_for_ever(self, world: World) -> None:
        await world.put(new("x"))
        world.ingester = world.with_settings(write_wait=0.05)
        world.store.is_writable = False
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: world.put(new("y")),
            lambda: world.update(new("y", id_of("x"))),
            lambda: world.ingester.delete("a", [id_of("x")]),
        ]
        for call in calls:
            with pytest.raises(NotWritableError, match=r"within 0\.05 s") as caught:
                await call()
            assert caught.value.retry_after == 5
        assert world.texts() == ["x"]

    async def test_many_that_wait_take_no_threads(self, world: World) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        world.ingester = world.with_settings(write_wait=30)
        world.store.is_writable = False
        waiting = [asyncio.ensure_future(world.put(new(f"{at}"))) for at in range(20)]
        await asyncio.wait_for(asyncio.to_thread(world.store.names), 5)
        world.store.is_writable = True
        await asyncio.gather(*waiting)
        assert len(world.texts()) == 20


class TestEndingEarly:
    async def test_whole_groups_are_left(self, world: World) -> None:
        async with aclosing(world.ingester.put("a", some(30))) as steps:
            await anext(steps)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert not tasks, "the stages have ended with it"
        assert len(world.texts()) % 3 == 0
        assert 3 <= len(world.texts()) < 30

    async def test_cancelling_while_it_is_written(self, world: World) -> None:
        writing, go_on = threading.Event(), threading.Event()

        def before(_: Batch) -> None:
            writing.set()
            assert go_on.wait(10)

        world.store.before = before
        work = asyncio.ensure_future(world.put(*some(30)))
        await asyncio.to_thread(writing.wait, 10)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        go_on.set()
        await asyncio.get_running_loop().shutdown_default_executor()
        assert world.texts() == ["text 0", "text 1", "text 2"]

    async def test_cancelling_while_it_is_embedded(self, world: World) -> None:
        held_up = asyncio.Event()

        async def hold(texts: Sequence[str]) -> None:
            if "text 3" in texts:
                held_up.set()
                await asyncio.Event().wait()

        world.embedder.hold = hold
        work = asyncio.ensure_future(world.put(*some(30)))
        await asyncio.wait_for(held_up.wait(), 10)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    @pytest.mark.parametrize("kind", ["text", "markdown"])
    async def test_nothing_is_cut_for_somebody_who_left(
        self, world: World, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """Neither the rest of the documents nor the rest of a long one."""
        looked, gone = threading.Semaphore(0), threading.Event()
        real, cut = chunking.embedded_text, list[int]()
        spans, begun = Chunker._spans, list[str]()

        def begins(self: Chunker, document: Document) -> Any:
            begun.append(document.text)
            return spans(self, document)

        def slowly(document: Document, chunk: Chunk) -> str:
            cut.append(chunk.position)
            looked.release()
            assert gone.wait(10)
            return real(document, chunk)

        monkeypatch.setattr(chunking, "embedded_text", slowly)
        monkeypatch.setattr(Chunker, "_spans", begins)
        texts = ["# A\n\nword\n\n" * 50] if kind == "markdown" else [f"{at}" for at in range(50)]
        work = asyncio.ensure_future(world.put(*(new(each, split_type=kind) for each in texts)))
        await asyncio.to_thread(looked.acquire)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        gone.set()
        await asyncio.get_running_loop().shutdown_default_executor()
        assert (len(cut), len(begun)) == (1, 1)


async def test_the_stages_are_beside_one_another(world: World) -> None:
    """The third group is being embedded, while the second waits to be stored and the first is;
    and what comes after is cut already."""
    storing, go_on = threading.Event(), threading.Event()
    third = asyncio.Event()

    def before(_: Batch) -> None:
        storing.set()
        assert go_on.wait(10)

    async def hold(texts: Sequence[str]) -> None:
        if "text 6" in texts:
            third.set()

    world.store.before = before
    world.embedder.hold = hold
    work = asyncio.ensure_future(world.put(*some(30)))
    try:
        await asyncio.to_thread(storing.wait, 10)
        await asyncio.wait_for(third.wait(), 10)
        assert world.local.get("a").count() == (0, 0), "the first is not stored yet"
    finally:
        go_on.set()
    assert statuses(await work) == ["created"] * 30
    # How far one stage may be ahead of the other is bounded.
    assert [len(call) for call in world.embedder.calls if call != [PROBE]] == [3] * 10


async def test_no_more_is_held_than_that(world: World) -> None:
    """Who takes progress slowly, slows the rest."""
    async with aclosing(world.ingester.put("a", some(300))) as steps:
        await anext(steps)
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert len(world.embedder.calls) <= 6
