"""Which collections are ours, what they were made with, and what is left to Qdrant itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import models
from rag.documents import Batch, IndexSpec
from rag.errors import BadRequestError, IndexExistsError, StorageError, UnknownIndexError
from rag.memory.analysis import Analyzer
from rag.qdrant import index as qdrant_index
from rag.qdrant import points
from rag.qdrant.settings import QdrantSettings
from rag.qdrant.store import QdrantStore

from tests.unit.rag.index_contract import ANALYZER, SPEC, a_document, a_query, ids, put


@pytest.fixture
def store() -> Iterator[QdrantStore]:
    store = QdrantStore(QdrantSettings(), SPEC, ANALYZER)
    yield store
    store.close()


def beside(store: QdrantStore, spec: IndexSpec, analyzer: Analyzer = ANALYZER) -> QdrantStore:
    """Another replica: with settings of its own, on the same server."""
    other = QdrantStore(QdrantSettings(), spec, analyzer)
    other._connection = store._connection
    return other


def foreign(store: QdrantStore, collection: str) -> None:
    vectors = models.VectorParams(size=4, distance=models.Distance.COSINE)
    store._connection.call("create_collection", collection, vectors_config=vectors)


def test_foreign_collections_are_left_alone(store: QdrantStore) -> None:
    foreign(store, "somebody-elses")
    foreign(store, "kaito-rag.by-chance")
    store.create("ours", SPEC)
    assert store.names() == ["ours"]
    for call in (store.get, store.drop):
        for name in ("somebody-elses", "by-chance"):
            with pytest.raises(UnknownIndexError):
                call(name)
    with pytest.raises(IndexExistsError):
        store.create("by-chance", SPEC)


def test_what_may_be_secret_in_the_address_is_not_told() -> None:
    settings = QdrantSettings("http://user:hush@127.0.0.1:1/base?api-key=hush")
    with pytest.raises(StorageError) as failed:
        QdrantStore(settings, SPEC, ANALYZER).names()
    assert "Qdrant at http://127.0.0.1:1/base cannot be reached" in failed.value.detail
    assert "hush" not in failed.value.detail


@pytest.mark.parametrize("name", ["plain", "with space/and#more?", "Größe 猫", "~7e", ".", "UPPER"])
def test_any_name(store: QdrantStore, name: str) -> None:
    put(store.create(name, SPEC), a_document("a", "word"))
    assert store.names() == [name]
    assert store.get(name).name == name


def test_another_embedder_is_refused_with_a_remedy(store: QdrantStore) -> None:
    put(store.create("one", SPEC), a_document("a", "word"))
    other = IndexSpec("another-model", 4, (0.0, 1.0, 0.0, 0.0))
    for call in (lambda s: s.get("one"), lambda s: s.create("one", other)):
        with pytest.raises(StorageError, match=r"'a-model'.*'another-model'"):
            call(beside(store, other))
    assert beside(store, other).names() == ["one"]
    renamed = dataclasses.replace(SPEC, model="the same by another name")
    assert beside(store, renamed).get("one").count() == (1, 1)
    with pytest.raises(StorageError, match="text analysis"):
        beside(store, SPEC, Analyzer("german")).get("one")
    beside(store, other).drop("one")
    assert store.names() == []


def test_replicas_see_each_other(store: QdrantStore) -> None:
    other = beside(store, SPEC)
    index = store.create("one", SPEC)
    put(index, a_document("a", "word"))
    assert ids(other.get("one").search([a_query("word")])[0]) == ["a"]
    other.drop("one")
    for call in (index.count, lambda: index.search([a_query("word")]), lambda: index.stored(["a"])):
        with pytest.raises(UnknownIndexError):
            call()
    with pytest.raises(UnknownIndexError):
        index.apply(Batch(delete=("a",)))


def test_one_index_is_one_object(store: QdrantStore) -> None:
    """Searches of one object are gathered."""
    assert store.create("one", SPEC) is store.get("one") is store.get("one")


def test_snapshots_are_left_to_qdrant(store: QdrantStore) -> None:
    store.create("one", SPEC)
    with pytest.raises(BadRequestError, match=r"POST .*/collections/kaito-rag\.one/snapshots"):
        store.persist("one", None)
    with pytest.raises(BadRequestError, match=r"PUT .*/snapshots/recover"):
        store.load("one", None, overwrite=True)
    with pytest.raises(UnknownIndexError):
        store.persist("two", None)


def test_it_is_written_as_it_is_found(store: QdrantStore) -> None:
    assert store.writable
    assert store.wait_writable(0)


def test_a_directory_is_kept(tmp_path: Path) -> None:
    settings = QdrantSettings(url=str(tmp_path / "qdrant"))
    store = QdrantStore(settings, SPEC, ANALYZER)
    put(store.create("one", SPEC), a_document("a", "word", kind=1))
    store.close()
    store = QdrantStore(settings, SPEC, ANALYZER)
    assert store.names() == ["one"]
    assert ids(store.get("one").search([a_query("word", where={"kind": 1})])[0]) == ["a"]
    store.close()


def test_a_batch_of_many_requests(store: QdrantStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_index, "_DOCUMENTS", 3)
    monkeypatch.setattr(points, "_MOST", 2)
    monkeypatch.setattr(qdrant_index, "_IDS", 2)
    index = store.create("one", SPEC)
    documents = [a_document(f"d{at}", *["word"] * (at % 5)) for at in range(11)]
    put(index, *documents)
    put(index, *documents[5:], a_document("d0", "word"))
    assert index.count() == (11, 21)
    page = index.page(limit=20, offset=0)
    assert [each.doc_id for each in page.documents] == [f"d{at}" for at in range(11)]
    index.apply(Batch(delete=tuple(f"d{at}" for at in range(7))))
    assert len(index.stored([f"d{at}" for at in range(11)])) == 4


def test_a_document_that_was_not_written_to_its_end_counts_as_changed(
    store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = store.create("one", SPEC)
    former, later = a_document("a", "first", "second"), a_document("a", "third")
    put(index, former)

    def fails(method: str, *args: object, **arguments: object) -> object:
        if method == "delete":
            raise StorageError("down")
        return call(method, *args, **arguments)

    call = store._connection.call
    monkeypatch.setattr(store._connection, "call", fails)
    with pytest.raises(StorageError):
        put(index, later)
    monkeypatch.undo()
    assert index.stored(["a"])["a"].content_hash not in (
        former.document.content_hash,
        later.document.content_hash,
    )
    put(index, later)
    assert index.count() == (1, 1)
    assert index.stored(["a"])["a"].content_hash == later.document.content_hash


def test_a_request_is_not_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "_BYTES", 1000)
    embedded = a_document("a", *["word " * n for n in (10, 20, 200, 10, 10, 180, 1)])
    chunks = points.of_chunks(embedded, ANALYZER, "1")
    requests = list(points.requests(chunks))
    assert [len(each) for each in requests] == [2, 1, 2, 1, 1]
    assert [point for each in requests for point in each] == chunks
    assert list(points.requests([])) == []
