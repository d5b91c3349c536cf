"""Writers and readers at once: each reader sees whole batches, and the end is the sum of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rag.documents import Query
from rag.errors import StorageError, UnknownIndexError
from rag.storage.database import Database
from rag.storage.store import LocalStore

from tests.unit.rag.storage.samples import ONE, a_batch, a_document, held, open_store

WRITERS = 3
STEPS = 25


@pytest.mark.parametrize("seed", range(4))
def test_writers_and_readers_beside_each_other(tmp_path: Path, seed: int) -> None:
    """Each writer keeps two documents of one text, changed together: a reader that sees two texts
    saw half a batch."""
    store = open_store(tmp_path, poll=0.005)
    store.create("docs", ONE.spec)
    follower = open_store(tmp_path, poll=0.005)
    done = threading.Event()
    faults: list[str] = []
    expected: list[dict[str, str]] = [{} for _ in range(WRITERS)]

    def write(writer: int) -> None:
        random = Random(seed * 100 + writer)
        index = store.get("docs")
        for step in range(STEPS):
            text = f"writer {writer} step {step}"
            pair = (f"w{writer}-left", f"w{writer}-right")
            if random.random() < 0.2:
                index.apply(a_batch(delete=pair))
                expected[writer] = {}
            else:
                index.apply(a_batch(*(a_document(each, text) for each in pair)))
                expected[writer] = dict.fromkeys(pair, text)

    def read(where: LocalStore) -> None:
        while not done.is_set():
            faults.extend(_halves(where))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    readers = [threading.Thread(target=read, args=(where,)) for where in (store, follower)]
    for each in (*readers, *writers):
        each.start()
    for each in writers:
        each.join()
    done.set()
    for each in readers:
        each.join()

    assert faults == []
    whole = {doc_id: text for each in expected for doc_id, text in each.items()}
    assert held(store, "docs") == whole
    follower.close()
    store.close()
    store = open_store(tmp_path)
    assert held(store, "docs") == whole
    store.close()


def _halves(store: LocalStore) -> list[str]:
    """Pairs of which one half was seen alone, in memory and in the file."""
    query = Query("x", ONE.vector("x"), 100, mode="dense")
    (hits,) = store.get("docs").search([query])
    listed = store.get("docs").page(limit=100, offset=0).documents
    return [
        f"{source}: {side} {text}"
        for source, seen in (("memory", hits), ("file", listed))
        for texts in [sorted((each.doc_id.split("-")[0], each.text) for each in seen)]
        for side, text in texts
        if texts.count((side, text)) != 2
    ]


OPERATION = st.one_of(
    st.tuples(st.just("put"), st.lists(st.tuples(st.integers(0, 5), st.text("ab\n", max_size=6)))),
    st.tuples(st.just("delete"), st.lists(st.integers(0, 5))),
    st.tuples(st.just("restart"), st.just([])),
    st.tuples(st.just("snapshot"), st.just([])),
    st.tuples(st.just("load"), st.just([])),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=st.lists(OPERATION, max_size=12))
def test_any_sequence_of_operations_is_what_a_dictionary_would_do(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, list]]
) -> None:
    directory = tmp_path_factory.mktemp("store")
    store = open_store(directory, sync=False)
    store.create("docs", ONE.spec)
    model: dict[str, str] = {}
    saved: dict[str, str] | None = None
    for kind, values in operations:
        index = store.get("docs")
        if kind == "put":
            documents = [(f"d{number}", text) for number, text in values]
            index.apply(a_batch(*(a_document(*each) for each in documents)))
            model.update(documents)
        elif kind == "delete":
            index.apply(a_batch(delete=[f"d{number}" for number in values]))
            model = {key: text for key, text in model.items() if int(key[1:]) not in values}
        elif kind == "restart":
            store.close()
            store = open_store(directory, sync=False)
        elif kind == "snapshot":
            store.persist("docs", None)
            saved = dict(model)
        elif saved is not None:
            store.load("docs", None, overwrite=True)
            model = dict(saved)
        assert list(held(store, "docs").items()) == list(model.items())
    store.close()


class TestPersistBesideOthers:
    """Whoever copies an index whose file is replaced copies the new one."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[LocalStore]:
        store = open_store(tmp_path)
        store.create("docs", ONE.spec).apply(a_batch(a_document("a", "text")))
        yield store
        store.close()

    @pytest.fixture
    def during(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
        """Once, when the next copy is about to be made."""

        def have(happens: Callable[[], object]) -> None:
            real = Database.copy_to
            waiting = [happens]

            def copy_to(self: Database, target: Path) -> None:
                if waiting:
                    waiting.pop()()
                real(self, target)

            monkeypatch.setattr(Database, "copy_to", copy_to)

        return have

    @pytest.mark.parametrize("path", [None, "kept/copy"])
    def test_a_file_that_is_replaced(
        self, store: LocalStore, during: Callable[[Callable[[], object]], None], path: str | None
    ) -> None:
        store.persist("docs", "first")
        store.get("docs").apply(a_batch(a_document("b", "another")))
        during(lambda: store.load("docs", "first", overwrite=True))
        store.persist("docs", path)
        store.load("docs", path, overwrite=True)
        assert held(store, "docs") == {"a": "text"}

    def test_an_index_that_is_dropped(
        self, store: LocalStore, during: Callable[[Callable[[], object]], None], tmp_path: Path
    ) -> None:
        during(lambda: store.drop("docs"))
        with pytest.raises(UnknownIndexError):
            store.persist("docs", "copy")
        assert not (tmp_path / "copy").exists()

    def test_a_store_that_is_closed_names_no_file(self, store: LocalStore) -> None:
        store.close()
        with pytest.raises(StorageError) as caught:
            store.persist("docs", None)
        assert caught.value.detail == "The file of index 'docs' is closed"
