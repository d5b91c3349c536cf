"""What is put is there: at once, in order, and after a restart; all of a batch or nothing."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from rag.errors import (
    BadRequestError,
    EmbedderError,
    InvalidError,
    NotWritableError,
    StorageError,
    StorageFullError,
    UnknownIndexError,
)
from rag.storage import connections
from rag.storage.filesystem import Journal

from tests.unit.rag.storage.samples import (
    ONE,
    a_batch,
    a_document,
    found,
    held,
    index_files,
    open_store,
)

BOTH_JOURNALS = pytest.mark.parametrize("filesystem", ["ext4", "nfs4"])


@BOTH_JOURNALS
def test_a_document_is_found_at_once_and_after_a_restart(tmp_path: Path, filesystem: str) -> None:
    store = open_store(tmp_path, filesystem=filesystem)
    index = store.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "alpha\nbeta", lang="en"), a_document("b", "gamma")))

    for _ in range(2):
        assert found(store, "docs", "beta")[0] == "beta"
        hit = store.get("docs").page(limit=10, offset=0).documents[0]
        assert (hit.doc_id, hit.text, hit.metadata) == ("a", "alpha\nbeta", {"lang": "en"})
        assert store.get("docs").count() == (2, 3)
        store.close()
        store = open_store(tmp_path, filesystem=filesystem)
    store.close()


def test_what_is_put_again_replaces_and_keeps_its_place(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    for name in "abc":
        index.apply(a_batch(a_document(name, f"text {name}")))
    index.apply(a_batch(a_document("a", "another")))
    index.apply(a_batch(delete=["b"]))
    index.apply(a_batch(a_document("b", "back")))

    assert list(held(store, "docs")) == ["a", "c", "b"]
    assert held(store, "docs")["a"] == "another"
    assert "text a" not in found(store, "docs", "text a", top_k=10)
    store.close()


def test_a_document_both_put_and_deleted_is_put(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "x"), a_document("a", "y"), delete=["a", "zz", "zz"]))

    assert held(store, "docs") == {"a": "y"}
    store.close()
    store = open_store(tmp_path)
    assert held(store, "docs") == {"a": "y"}
    store.close()


def test_what_is_known_of_documents_without_their_texts(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    document = a_document("a", "alpha\nbeta")
    index.apply(a_batch(document, a_document("b", "x")))

    known = index.stored(["a", "no"])
    vectors = index.vectors("a")

    assert list(known) == ["a"]
    assert known["a"].content_hash == document.document.content_hash
    assert known["a"].chunks == 2
    assert np.array_equal(vectors[document.chunks[1].embedded_hash], document.vectors[1])
    assert index.vectors("no") == {}
    store.close()


def test_listing_pages_through_what_matches(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    index.apply(a_batch(*(a_document(f"d{n}", f"t{n}", odd=n % 2 == 1, n=n) for n in range(20))))

    page = index.page(limit=3, offset=2, metadata_filter={"odd": True})

    assert [each.doc_id for each in page.documents] == ["d5", "d7", "d9"]
    assert page.total == 10
    assert index.page(limit=5, offset=0, metadata_filter={"odd": 1}).total == 0
    assert [each.doc_id for each in index.page(limit=2, offset=18).documents] == ["d18", "d19"]
    store.close()


def test_texts_that_are_hard_to_store_come_back(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    text = "nul \x00, quote ', 文書 😀\nlast"
    document = a_document("a'\x00", text, key={"deep": [1, 2.5, None]})
    shown = dataclasses.replace(document.chunks[0], text="shown otherwise", start=-1, end=-1)
    index.apply(a_batch(dataclasses.replace(document, chunks=(shown, document.chunks[1]))))
    store.close()

    store = open_store(tmp_path)
    assert held(store, "docs") == {"a'\x00": text}
    assert "shown otherwise" in found(store, "docs", "x", top_k=5)
    store.close()


def test_a_document_without_chunks_is_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    empty = dataclasses.replace(
        a_document("a", ""), chunks=(), vectors=np.empty((0, ONE.dimension), np.float32)
    )
    index.apply(a_batch(empty))
    store.close()

    store = open_store(tmp_path)
    assert held(store, "docs") == {"a": ""}
    store.close()


def test_vectors_of_another_size_are_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    wrong = dataclasses.replace(a_document("b", "x"), vectors=np.ones((1, 3), np.float32))

    with pytest.raises((EmbedderError, BadRequestError)):
        index.apply(a_batch(a_document("a", "y"), wrong))

    assert held(store, "docs") == {}
    store.close()


@BOTH_JOURNALS
def test_a_full_disk_takes_nothing_and_reading_goes_on(
    tmp_path: Path, filesystem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = connections.prepare_writer

    def with_little_room(connection: sqlite3.Connection, journal: Journal, *, sync: bool) -> None:
        prepare(connection, journal, sync=sync)
        connection.execute("PRAGMA max_page_count = 30")

    monkeypatch.setattr(connections, "prepare_writer", with_little_room)
    store = open_store(tmp_path, filesystem=filesystem)
    index = store.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "alpha")))

    with pytest.raises(StorageFullError):
        index.apply(a_batch(a_document("b", "beta"), a_document("c", "x" * 10**6)))

    assert held(store, "docs") == {"a": "alpha"}
    assert found(store, "docs", "beta") == ["alpha"]
    index.apply(a_batch(a_document("d", "small")))
    store.close()

    store = open_store(tmp_path, filesystem=filesystem)
    assert held(store, "docs") == {"a": "alpha", "d": "small"}
    store.close()


@pytest.mark.parametrize("filesystem", ["ext4", "nfs4"])
def test_an_index_that_cannot_be_synced_is_not_made(
    tmp_path: Path, filesystem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, filesystem=filesystem)
    with monkeypatch.context() as patched:
        patched.setattr("rag.storage.durable.os.fsync", _raises_io_error)
        with pytest.raises(StorageError, match="Input/output error"):
            store.create("docs", ONE.spec)

    assert store.names() == []
    assert index_files(tmp_path) == []
    store.create("docs", ONE.spec)
    store.close()


def test_what_is_not_committed_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    monkeypatch.setattr(index.database, "write", _raises_storage_error)

    with pytest.raises(StorageError):
        index.apply(a_batch(a_document("a", "alpha")))

    assert index.count() == (0, 0)
    store.close()


def test_what_is_durable_is_shown_even_if_memory_failed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    with monkeypatch.context() as patched:
        patched.setattr("rag.memory.index.MemoryIndex.commit", _raises_memory_error)
        with pytest.raises(MemoryError):
            index.apply(a_batch(a_document("a", "alpha")))

    index.apply(a_batch(a_document("b", "beta")))

    assert held(store, "docs") == {"a": "alpha", "b": "beta"}
    store.close()


@pytest.mark.parametrize("to", ["ext4", "nfs4"])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_directory_can_move_to_another_kind_of_volume(
    tmp_path: Path, to: str, stopped: bool
) -> None:
    """Also as a killed process left it, its log not written back."""
    store = open_store(tmp_path / "one", filesystem="nfs4" if to == "ext4" else "ext4")
    store.create("docs", ONE.spec).apply(a_batch(a_document("a", "alpha")))
    if stopped:
        store.close()
    shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=shutil.ignore_patterns("*-shm"))
    store.close()

    store = open_store(tmp_path / "two", filesystem=to)
    follower = open_store(tmp_path / "two", filesystem=to)
    store.get("docs").apply(a_batch(a_document("b", "beta")))

    assert held(store, "docs") == {"a": "alpha", "b": "beta"}
    assert any(each.endswith("-wal") for each in index_files(tmp_path / "two")) is (to == "ext4")
    follower.close()
    store.close()


def test_an_index_that_is_not_there(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for name in ("docs", "", "a/b", "\ud800"):
        with pytest.raises(UnknownIndexError):
            store.get(name)
    with pytest.raises(UnknownIndexError):
        store.drop("docs")
    with pytest.raises(UnknownIndexError):
        store.persist("docs", None)
    with pytest.raises(InvalidError):
        store.create("a/b", ONE.spec)
    store.close()


def test_a_dropped_index_is_gone_with_its_file_and_may_be_made_anew(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    index.apply(a_batch(a_document("a", "alpha")))
    store.drop("docs")

    assert store.names() == []
    assert index_files(tmp_path) == []
    for use in (lambda: index.apply(a_batch(delete=["a"])), lambda: index.stored(["a"])):
        with pytest.raises(UnknownIndexError):
            use()
    store.create("docs", ONE.spec)
    assert held(store, "docs") == {}
    store.close()
    store = open_store(tmp_path)
    assert held(store, "docs") == {}
    store.close()


def test_racing_creates_get_one_index(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    start, made = threading.Barrier(8), []

    def create(number: int) -> None:
        start.wait()
        index = store.create("docs", ONE.spec)
        made.append(index)
        index.apply(a_batch(a_document(f"d{number}", f"text {number}")))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len({id(each) for each in made}) == 1
    assert len(held(store, "docs")) == 8
    assert len([each for each in index_files(tmp_path) if each.endswith(".db")]) == 1
    store.close()


def test_after_closing_nothing_is_written(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    index = store.create("docs", ONE.spec)
    store.close()

    with pytest.raises(NotWritableError):
        index.apply(a_batch(a_document("a", "x")))
    with pytest.raises(NotWritableError):
        store.create("more", ONE.spec)


def test_a_clean_stop_leaves_one_file_an_index(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for name in ("one", "Two"):
        store.create(name, ONE.spec).apply(a_batch(a_document("a", "x")))
    store.close()

    assert [each.rsplit(".", 1)[1] for each in index_files(tmp_path)] == ["db", "db"]


def _raises_storage_error(*_: object) -> int:
    raise StorageError("no")


def _raises_io_error(handle: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


def _raises_memory_error(*_: object) -> None:
    raise MemoryError
