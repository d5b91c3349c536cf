"""What is kept in a collection: a point for each chunk, with vectors, and one for each document,
without, so that documents can be listed and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from qdrant_client import models

from rag.documents import Document, EmbeddedDocument, Stored
from rag.memory.analysis import Analyzer
from rag.qdrant import fields, terms

_MOST = 200
_BYTES = 8 << 20
"""In a request, about; the server takes 32 MiB."""
_NUMBER = 12
"""Bytes of one, written out."""


def of_chunks(
    embedded: EmbeddedDocument, analyzer: Analyzer, version: str
) -> list[models.PointStruct]:
    """`version` tells the chunks of this put from those of former ones."""
    document = embedded.document
    shared = _payload(document)
    return [
        models.PointStruct(
            id=fields.chunk_id(document.doc_id, chunk.position),
            vector={
                fields.DENSE: vector.tolist(),
                fields.SPARSE: terms.weights(analyzer.pack(chunk.text)),
            },
            payload={
                **shared,
                "kind": fields.CHUNK,
                "version": version,
                "node_id": chunk.node_id,
                "position": chunk.position,
                "start": chunk.start,
                "end": chunk.end,
                "text": chunk.text,
                "embedded_hash": chunk.embedded_hash,
            },
        )
        for chunk, vector in zip(embedded.chunks, embedded.vectors, strict=True)
    ]


def of_document(embedded: EmbeddedDocument, first: int) -> models.PointStruct:
    """`first`: when it was put for the first time, in nanoseconds."""
    document = embedded.document
    return models.PointStruct(
        id=fields.document_id(document.doc_id),
        vector={},
        payload={
            **_payload(document),
            "kind": fields.DOCUMENT,
            "text": document.text,
            "content_hash": document.content_hash,
            "chunks": len(embedded.chunks),
            "first": first,
        },
    )


def document_of(payload: dict[str, Any]) -> Document:
    return Document(payload["doc_id"], payload["text"], json.loads(payload["metadata"]))


def stored_of(payload: dict[str, Any]) -> Stored:
    return Stored(payload["doc_id"], payload["content_hash"], payload["chunks"])


def requests(points: Sequence[models.PointStruct]) -> Iterator[list[models.PointStruct]]:
    """As many at once as the server takes."""
    some: list[models.PointStruct] = []
    size = 0
    for point in points:
        more = _size(point)
        if some and (len(some) == _MOST or size + more > _BYTES):
            yield some
            some, size = [], 0
        some.append(point)
        size += more
    if some:
        yield some


def _payload(document: Document) -> dict[str, Any]:
    """Metadata as text, to be given back as it came."""
    return {
        "doc_id": document.doc_id,
        "metadata": json.dumps(document.metadata, ensure_ascii=False),
        "tags": [fields.tag(name, value) for name, value in document.metadata.items()],
    }


def _size(point: models.PointStruct) -> int:
    payload, vectors = point.payload or {}, point.vector
    dense = vectors.get(fields.DENSE, []) if isinstance(vectors, dict) else []
    numbers = len(dense) if isinstance(dense, list) else 0
    text = payload["text"].encode(errors="replace")
    return len(text) + len(payload["metadata"]) + _NUMBER * numbers
