"""One collection as an index."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from qdrant_client import models

from rag.documents import (
    Batch,
    EmbeddedDocument,
    Hit,
    IndexSpec,
    Metadata,
    Page,
    Query,
    Stored,
    Vectors,
)
from rag.errors import EmbedderError, UnknownIndexError
from rag.memory.analysis import Analyzer
from rag.qdrant import conditions, fields, points
from rag.qdrant.connection import Connection, MissingCollectionError
from rag.qdrant.search import Search

_DOCUMENTS = 200
_IDS = 1000
"""In one request."""
_EachT = TypeVar("_EachT")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an index is, and how it is asked."""

    connection: Connection
    collection: str
    analyzer: Analyzer
    exact: bool = False


class QdrantIndex:
    """The server has no transactions. A batch is written in an order in which a document that was
    not written to its end counts as changed, so that putting it again mends it; but a reader may
    see some documents of a batch before others, and for a moment chunks of two versions of one."""

    def __init__(self, name: str, spec: IndexSpec, place: Place) -> None:
        self.name = name
        self.spec = spec
        self._place = place
        self._writing = threading.Lock()

    def apply(self, batch: Batch) -> None:
        last = {each.document.doc_id: each for each in batch.put}
        for embedded in last.values():
            self._check(embedded.vectors, (len(embedded.chunks), self.spec.dimension))
        gone = [doc_id for doc_id in dict.fromkeys(batch.delete) if doc_id not in last]
        with self._writing, self._present():
            for some in _slices(gone, _IDS):
                self._call("delete", points_selector=conditions.of_documents(some), wait=True)
            for documents in _slices(list(last.values()), _DOCUMENTS):
                self._put(documents, forget=batch.delete)

    def stored(self, doc_ids: Collection[str]) -> Mapping[str, Stored]:
        with self._present():
            payloads = self._documents(doc_ids, ["doc_id", "content_hash", "chunks"])
        return {payload["doc_id"]: points.stored_of(payload) for payload in payloads}

    def texts(self, doc_ids: Collection[str]) -> Mapping[str, str]:
        with self._present():
            payloads = self._documents(doc_ids, ["doc_id", "text"])
        return {payload["doc_id"]: payload["text"] for payload in payloads}

    def vectors(self, doc_id: str) -> Mapping[str, Vectors]:
        of = conditions.chunks_of([doc_id])
        with self._present():
            found = list(self._scroll(of, ["embedded_hash"], vectors=True))
        return {
            record.payload["embedded_hash"]: np.array(record.vector[fields.DENSE], np.float32)
            for record in found
        }

    def page(self, *, limit: int, offset: int, metadata_filter: Metadata | None = None) -> Page:
        """Looks at the order of all that match, and at the text of the page alone."""
        matching = conditions.passing(metadata_filter, fields.DOCUMENT)
        with self._present():
            records = list(self._scroll(matching, ["doc_id", "first"]))
            order = sorted((r.payload["first"], r.payload["doc_id"]) for r in records)
            wanted = [doc_id for _, doc_id in order[offset : offset + limit]]
            payloads = {each["doc_id"]: each for each in self._documents(wanted, True)}
        documents = [points.document_of(payloads[each]) for each in wanted if each in payloads]
        return Page(tuple(documents), len(order))

    def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        for query in queries:
            if query.vector is not None:
                self._check(query.vector, (self.spec.dimension,))
        place = self._place
        search = Search(place.connection, place.collection, place.analyzer, exact=place.exact)
        with self._present():
            return search.run(queries)

    def count(self) -> tuple[int, int]:
        with self._present():
            documents, chunks = (
                self._call("count", count_filter=conditions.passing(None, kind), exact=True).count
                for kind in (fields.DOCUMENT, fields.CHUNK)
            )
        return documents, chunks

    def _put(self, documents: Sequence[EmbeddedDocument], forget: Collection[str]) -> None:
        doc_ids = [each.document.doc_id for each in documents]
        now, version = time.time_ns(), uuid.uuid4().hex
        known = self._documents(doc_ids, ["doc_id", "first"])
        there = {each["doc_id"]: each["first"] for each in known}
        firsts = {each: there[each] for each in there if each not in forget}
        if there:
            # Until all is written it is equal to nothing.
            changing = [fields.document_id(each) for each in there]
            self._call("set_payload", payload={"content_hash": ""}, points=changing, wait=True)
        chunks = [
            point
            for each in documents
            for point in points.of_chunks(each, self._place.analyzer, version)
        ]
        for some in points.requests(chunks):
            self._call("upsert", points=some, wait=True)
        stale = conditions.chunks_of(doc_ids, but_version=version)
        if there:
            self._call("delete", points_selector=stale, wait=True)
        done = [
            points.of_document(each, firsts.get(each.document.doc_id, now + at))
            for at, each in enumerate(documents)
        ]
        for some in points.requests(done):
            self._call("upsert", points=some, wait=True)

    def _documents(self, doc_ids: Collection[str], names: list[str] | bool) -> list[dict[str, Any]]:
        found = []
        for some in _slices([fields.document_id(each) for each in doc_ids], _IDS):
            found += self._call("retrieve", ids=some, with_payload=names)
        return [record.payload for record in found]

    def _scroll(
        self, matching: models.Filter, names: list[str], *, vectors: bool = False
    ) -> Iterator[Any]:
        offset = None
        while True:
            records, offset = self._call(
                "scroll",
                scroll_filter=matching,
                with_payload=names,
                with_vectors=[fields.DENSE] if vectors else False,
                limit=_IDS,
                offset=offset,
            )
            yield from records
            if offset is None:
                return

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._place.connection.call(method, self._place.collection, **arguments)

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Another replica may have dropped it."""
        try:
            yield
        except MissingCollectionError as error:
            raise UnknownIndexError(self.name) from error

    def _check(self, vectors: Vectors, shape: tuple[int, ...]) -> None:
        if vectors.shape != shape:
            raise EmbedderError(
                f"The embedder gave vectors of shape {'x'.join(map(str, vectors.shape))}; "
                f"the index takes {'x'.join(map(str, shape))}."
            )
        if not np.isfinite(vectors).all():
            raise EmbedderError("The embedder gave a vector that is not finite.")


def _slices(items: Sequence[_EachT], size: int) -> Iterator[list[_EachT]]:
    for at in range(0, len(items), size):
        yield list(items[at : at + size])
