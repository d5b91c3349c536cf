"""What any index and any store must do, wherever it keeps its documents.

A test module takes `SearchContract`, `IndexContract` or `StoreContract` as the base of a class, and
gives it the fixture `index` (of DIMENSION, empty, with ANALYZER where words are looked at in this
process) or `store`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pytest
from rag.documents import (
    Batch,
    Chunk,
    Document,
    EmbeddedDocument,
    Hit,
    IndexSpec,
    Mode,
    Query,
    Vectors,
)
from rag.errors import EmbedderError, UnknownIndexError
from rag.memory.analysis import Analyzer
from rag.protocols import Index, Store

DIMENSION = 4
ANALYZER = Analyzer("english")
SPEC = IndexSpec("a-model", DIMENSION, (1.0, 0.0, 0.0, 0.0))


class Searched(Protocol):
    """What MemoryIndex has in common with protocols.Index."""

    def apply(self, batch: Batch) -> None: ...
    def search(self, queries: Sequence[Query]) -> Iterable[list[Hit]]: ...
    def count(self) -> tuple[int, int]: ...


def hits_of(index: Searched, queries: Sequence[Query]) -> list[list[Hit]]:
    return list(index.search(queries))


def unit(*numbers: float) -> Vectors:
    vector = np.array(numbers, np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def a_document(
    doc_id: str,
    *texts: str,
    vector: Sequence[float] | Vectors = (1, 0, 0, 0),
    **metadata: Any,
) -> EmbeddedDocument:
    """A chunk for each text; their vectors are turned a little, one more than the other."""
    chunks, vectors, start = [], [], 0
    for position, text in enumerate(texts):
        chunks.append(
            Chunk(f"{doc_id}#{position}", position, start, start + len(text), text, f"h:{text}")
        )
        turned = np.array([0, 0, 0, 0.01 * position])
        vectors.append(unit(*(np.array(vector) + turned)))
        start += len(text) + 1
    return EmbeddedDocument(
        Document(doc_id, " ".join(texts), metadata),
        tuple(chunks),
        np.array(vectors, np.float32).reshape(len(texts), DIMENSION),
    )


def a_query(
    text: str = "",
    vector: Sequence[float] | None = (1, 0, 0, 0),
    *,
    mode: Mode = "hybrid",
    top_k: int = 10,
    where: Mapping[str, Any] | None = None,
) -> Query:
    return Query(text, None if vector is None else unit(*vector), top_k, mode, where)


def put(index: Searched, *documents: EmbeddedDocument) -> None:
    index.apply(Batch(put=documents))


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.doc_id for hit in hits]


class SearchContract:
    def test_an_empty_index_finds_nothing(self, index: Searched) -> None:
        modes: list[Mode] = ["hybrid", "dense", "sparse"]
        assert hits_of(index, [a_query("word", mode=mode) for mode in modes]) == [[], [], []]
        assert hits_of(index, []) == []
        assert index.count() == (0, 0)

    def test_a_similarity_is_a_similarity(self, index: Searched) -> None:
        put(
            index,
            a_document("far", "a", vector=(-1, 0, 0, 0)),
            a_document("near", "b", vector=(1, 0.1, 0, 0)),
            a_document("same", "c", vector=(1, 0, 0, 0)),
            a_document("across", "d", vector=(0, 1, 0, 0)),
        )
        (hits,) = hits_of(index, [a_query(mode="dense")])
        assert ids(hits) == ["same", "near", "across", "far"]
        assert [hit.score for hit in hits] == pytest.approx([1, 0.99504, 0, -1], abs=1e-4)
        assert all(hit.dense_score == hit.score and hit.sparse_score is None for hit in hits)
        assert {hit.source for hit in hits} == {"dense_only"}

    def test_words_are_found_in_other_forms(self, index: Searched) -> None:
        put(
            index,
            a_document("cats", "The cat sat on the mat and purred"),
            a_document("dogs", "Dogs are barking loudly outside"),
            a_document("birds", "A bird sings"),
        )
        barked, sat, nothing = hits_of(
            index,
            [a_query(text, None, mode="sparse") for text in ("BARKED", "cats", "elephant the")],
        )
        assert ids(barked) == ["dogs"]
        assert ids(sat) == ["cats"]
        assert nothing == []
        assert barked[0].score == barked[0].sparse_score > 0
        assert (barked[0].dense_score, barked[0].source) == (None, "sparse_only")

    def test_rare_words_and_short_chunks_weigh_more(self, index: Searched) -> None:
        put(
            index,
            a_document("common", "apple banana"),
            a_document("rare", "cherry banana"),
            a_document("long", "cherry banana " + "filling words of no use " * 10),
            *(a_document(f"more{at}", "apple banana") for at in range(5)),
        )
        (hits,) = hits_of(index, [a_query("apple cherry", None, mode="sparse")])
        assert ids(hits)[0] == "rare"
        assert ids(hits).index("rare") < ids(hits).index("long")

    def test_hybrid_is_the_fusion_of_both_lists(self, index: Searched) -> None:
        put(
            index,
            a_document("both", "needle", vector=(1, 0, 0, 0)),
            a_document("near", "hay", vector=(1, 0.1, 0, 0)),
            a_document("word", "needle needle hay straw", vector=(0, 1, 0, 0)),
        )
        (hits,) = hits_of(index, [a_query("needle", top_k=3)])
        found = {hit.doc_id: hit for hit in hits}
        assert ids(hits)[0] == "both"
        assert found["both"].score == pytest.approx(61 / 2 * (1 / 61 + 1 / _rank("both", index)))
        assert found["near"].source == "dense_only"
        assert found["near"].sparse_score is None
        assert found["near"].score == pytest.approx(61 / 2 / 62)
        assert found["word"].dense_score == pytest.approx(0, abs=1e-6)
        assert all(0 < hit.score <= 1 for hit in hits)

    @pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
    def test_a_filter_comes_before_the_ranks(self, index: Searched, mode: Mode) -> None:
        better = [a_document(f"other{at}", "word word", kind="b") for at in range(30)]
        put(index, *better, a_document("mine", "word and more", vector=(0, 1, 0, 0), kind="a"))
        (hits,) = hits_of(index, [a_query("word", mode=mode, top_k=3, where={"kind": "a"})])
        assert ids(hits) == ["mine"]

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({"value": 1}, {"one", "float"}),
            ({"value": 1.0}, {"one", "float"}),
            ({"value": True}, {"true"}),
            ({"value": "1"}, {"string"}),
            ({"value": None}, {"null"}),
            ({"value": ["a", 1]}, {"list"}),
            ({"value": {"b": 1, "a": 2}}, {"object"}),
            ({"value": 1, "other": "x"}, {"one"}),
            ({"missing": None}, set()),
            ({}, {"one", "float", "true", "string", "null", "list", "object", "none"}),
        ],
    )
    def test_values_are_equal_as_json_is(
        self, index: Searched, wanted: dict[str, Any], found: set[str]
    ) -> None:
        put(
            index,
            a_document("one", "word", value=1, other="x"),
            a_document("float", "word", value=1.0),
            a_document("true", "word", value=True),
            a_document("string", "word", value="1"),
            a_document("null", "word", value=None),
            a_document("list", "word", value=["a", 1]),
            a_document("object", "word", value={"a": 2, "b": 1}),
            a_document("none", "word"),
        )
        for mode in ("hybrid", "dense", "sparse"):
            (hits,) = hits_of(index, [a_query("word", mode=mode, where=wanted)])
            assert set(ids(hits)) == found, mode

    def test_a_hit_tells_all_of_its_chunk(self, index: Searched) -> None:
        metadata = {"title": "Grüße", "tags": ["x", {"y": None}], "n": 1.5}
        put(index, a_document("doc", "first part", "zweiter Teil \N{SNOWMAN}", **metadata))
        hits = hits_of(index, [a_query("zweiter", mode="sparse")])[0]
        assert [(hit.node_id, hit.position, hit.start, hit.end) for hit in hits] == [
            ("doc#1", 1, 11, 25)
        ]
        assert hits[0].text == "zweiter Teil \N{SNOWMAN}"
        assert hits[0].metadata == metadata

    def test_what_is_put_again_replaces_all_of_the_former(self, index: Searched) -> None:
        old = a_document("doc", "old one", "old two", "old three", version=1)
        put(index, old, a_document("beside", "stays"))
        put(index, a_document("doc", "new one", version=2), a_document("other", "old stays"))
        assert index.count() == (3, 3)
        found, new = hits_of(index, [a_query(text, mode="sparse") for text in ("old", "new")])
        assert ids(found) == ["other"]
        assert [(hit.text, hit.metadata) for hit in new] == [("new one", {"version": 2})]
        assert hits_of(index, [a_query(mode="sparse", text="one", where={"version": 1})]) == [[]]

    def test_what_is_deleted_is_not_found_and_not_counted(self, index: Searched) -> None:
        put(index, a_document("a", "word"), a_document("b", "word", "more words"))
        index.apply(Batch(delete=("b", "never there")))
        assert index.count() == (1, 1)
        for mode in ("hybrid", "dense", "sparse"):
            assert ids(hits_of(index, [a_query("word", mode=mode)])[0]) == ["a"]
        index.apply(Batch(put=(a_document("b", "back"),), delete=("a", "b")))
        assert ids(hits_of(index, [a_query("word back")])[0]) == ["b"]

    def test_a_document_without_text_is_counted(self, index: Searched) -> None:
        put(index, a_document("empty"), a_document("full", "word"))
        assert index.count() == (2, 1)
        put(index, a_document("empty", "not any more"))
        assert index.count() == (2, 2)

    @pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
    def test_no_more_than_asked_for(self, index: Searched, mode: Mode) -> None:
        put(index, *(a_document(f"d{at}", "word", "word again") for at in range(20)))
        queries = [a_query("word", mode=mode, top_k=top_k) for top_k in (0, 1, 7, 100)]
        assert [len(hits) for hits in hits_of(index, queries)] == [0, 1, 7, 40]

    @pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
    def test_equals_come_in_one_order(self, index: Searched, mode: Mode) -> None:
        documents = [a_document(f"d{at}", "the same word") for at in range(30)]
        put(index, *documents[10:])
        put(index, *documents[:10])
        first = ids(hits_of(index, [a_query("word", mode=mode, top_k=30)])[0])
        index.apply(Batch(delete=tuple(f"d{at}" for at in range(30))))
        for document in documents:
            put(index, document)
        many = hits_of(index, [a_query("word", mode=mode, top_k=30)] * 9)
        assert [ids(hits) for hits in many] == [first] * 9
        assert ids(hits_of(index, [a_query("word", mode=mode, top_k=5)])[0]) == first[:5]

    def test_queries_at_once_are_answered_as_one_by_one(self, index: Searched) -> None:
        put(
            index,
            *(
                a_document(f"d{at}", f"word{at % 3} common", vector=(1, at, 0, 1), third=at % 3)
                for at in range(12)
            ),
        )
        queries = [
            a_query(text, (1, at, 0, 0), mode=mode, top_k=at + 1, where=where)
            for at, text in enumerate(("word1", "common word2", "nothing"))
            for mode in ("hybrid", "dense", "sparse")
            for where in (None, {"third": 1})
        ]
        assert hits_of(index, queries) == [hits_of(index, [query])[0] for query in queries]

    def test_a_vector_of_another_size_is_refused_and_nothing_is_changed(
        self, index: Searched
    ) -> None:
        put(index, a_document("a", "word"))
        wrong = EmbeddedDocument(
            Document("b", "word"), (Chunk("b#0", 0, 0, 4, "word", "h"),), np.ones((1, 5), "f4")
        )
        with pytest.raises(EmbedderError):
            index.apply(Batch(put=(a_document("c", "word"), wrong), delete=("a",)))
        with pytest.raises(EmbedderError):
            hits_of(index, [Query("word", np.ones(5, "f4"), 3)])
        with pytest.raises(EmbedderError):
            hits_of(index, [Query("word", np.full(4, np.nan, "f4"), 3)])
        assert ids(hits_of(index, [a_query("word")])[0]) == ["a"]


class IndexContract(SearchContract):
    def test_what_is_stored_is_told(self, index: Index) -> None:
        one = a_document("a", "text", "more", kind=1)
        put(index, one, a_document("b", "text"))
        stored = index.stored(["a", "c"])
        assert {key: (each.content_hash, each.chunks) for key, each in stored.items()} == {
            "a": (one.document.content_hash, 2)
        }
        assert index.stored([]) == {}

    def test_vectors_by_what_was_embedded(self, index: Index) -> None:
        one = a_document("a", "text", "more")
        put(index, one)
        vectors = index.vectors("a")
        assert set(vectors) == {"h:text", "h:more"}
        np.testing.assert_allclose(vectors["h:more"], one.vectors[1], atol=1e-6)
        assert index.vectors("b") == {}
        assert index.texts(["a", "b"]) == {"a": index.page(limit=1, offset=0).documents[0].text}

    def test_documents_are_listed_in_the_order_of_their_first_put(self, index: Index) -> None:
        for at in (3, 1, 2):
            put(index, a_document(f"d{at}", "one", "two", odd=bool(at % 2)))
        put(index, a_document("d3", "changed", odd=True))
        page = index.page(limit=2, offset=0)
        assert ([each.doc_id for each in page.documents], page.total) == (["d3", "d1"], 3)
        assert page.documents[0].text == "changed"
        page = index.page(limit=2, offset=2)
        assert ([each.doc_id for each in page.documents], page.total) == (["d2"], 3)
        page = index.page(limit=1, offset=1, metadata_filter={"odd": True})
        assert ([each.doc_id for each in page.documents], page.total) == (["d1"], 2)
        assert index.page(limit=5, offset=9).documents == ()


class StoreContract:
    def test_indexes_by_name(self, store: Store) -> None:
        assert store.names() == []
        index = store.create("one", SPEC)
        put(index, a_document("a", "word"))
        assert (index.name, index.spec) == ("one", SPEC)
        store.create("two", SPEC)
        assert sorted(store.names()) == ["one", "two"]
        assert store.get("one").count() == (1, 1)
        assert store.get("two").count() == (0, 0)

    def test_an_unknown_one_is_an_error(self, store: Store) -> None:
        for call in (store.get, store.drop):
            with pytest.raises(UnknownIndexError):
                call("nothing")

    def test_what_is_dropped_does_not_come_back(self, store: Store) -> None:
        put(store.create("one", SPEC), a_document("a", "word"))
        store.drop("one")
        assert store.names() == []
        with pytest.raises(UnknownIndexError):
            store.get("one")
        assert store.create("one", SPEC).count() == (0, 0)

    def test_racing_creates_get_the_same_one(self, store: Store) -> None:
        errors: list[Exception] = []
        start = threading.Barrier(6)

        def create(at: int) -> None:
            try:
                start.wait()
                put(store.create("one", SPEC), a_document(f"d{at}", "word"))
            except Exception as error:  # noqa: BLE001  # told below
                errors.append(error)

        threads = [threading.Thread(target=create, args=(at,)) for at in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert store.get("one").count() == (6, 6)


def _rank(doc_id: str, index: Searched) -> int:
    """Of the word, plus RRF_K."""
    return 61 + ids(hits_of(index, [a_query("needle", mode="sparse")])[0]).index(doc_id)
