"""A document as a row, and back. Pure.

All that belongs to its chunks lies in one row, as it is always read and written together. Every row
has a sum, as SQLite itself does not see a bit that turned over in a vector.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rag.documents import Chunk, Document, EmbeddedDocument, Vectors
from rag.errors import BadRequestError
from rag.storage.failures import DamagedError

Packed = Sequence[bytes]
"""For each chunk of a document its words (`rag.memory.analysis`)."""


@dataclass(frozen=True, slots=True)
class Record:
    """The columns, in the order of the tables' (`schema.TABLES`)."""

    doc_id: str
    content_hash: str
    chunks: int
    metadata: str
    text: str
    layout: str
    """JSON: for each chunk [node_id, start, end, text or null, embedded_hash]; null where the text
    is the document's from start to end."""
    vectors: bytes
    words: bytes

    @property
    def sum(self) -> int:
        """CRC-32 of all of it."""
        known = f"{self.doc_id}\n{self.content_hash}\n{self.chunks}\n{self.metadata}\n{self.layout}"
        found = zlib.crc32(known.encode())
        for part in (self.text.encode(), self.vectors, self.words):
            found = zlib.crc32(part, found)
        return found


def encode(embedded: EmbeddedDocument, packed: Packed, dimension: int) -> Record:
    """Raises BadRequestError."""
    document = embedded.document
    vectors = np.ascontiguousarray(embedded.vectors, dtype="<f4")
    if vectors.shape != (len(embedded.chunks), dimension) and embedded.chunks:
        raise BadRequestError(
            f"Document '{document.doc_id}': vectors of shape {vectors.shape} do not fit "
            f"{len(embedded.chunks)} chunks in {dimension} dimensions"
        )
    layout = [
        [each.node_id, each.start, each.end, _own_text(each, document.text), each.embedded_hash]
        for each in embedded.chunks
    ]
    return Record(
        document.doc_id,
        document.content_hash,
        len(embedded.chunks),
        json.dumps(document.metadata, ensure_ascii=False, separators=(",", ":")),
        document.text,
        json.dumps(layout, ensure_ascii=False, separators=(",", ":")),
        vectors.tobytes(),
        _join(packed),
    )


def decode(record: Record, dimension: int) -> tuple[EmbeddedDocument, list[bytes]]:
    """Raises DamagedError."""
    try:
        document = Document(record.doc_id, record.text, json.loads(record.metadata))
        chunks = tuple(
            Chunk(node, position, start, end, record.text[start:end] if own is None else own, of)
            for position, (node, start, end, own, of) in enumerate(json.loads(record.layout))
        )
        vectors = as_vectors(record.vectors, dimension)
        words = _split(record.words, record.chunks)
    except (ValueError, TypeError, struct.error) as error:
        raise DamagedError(f"document '{record.doc_id}' cannot be read: {error}") from error
    if not record.chunks == len(chunks) == len(vectors):
        raise DamagedError(f"document '{record.doc_id}' has lost chunks")
    return EmbeddedDocument(document, chunks, vectors), words


def as_vectors(stored: bytes, dimension: int) -> Vectors:
    return np.frombuffer(stored, dtype="<f4").reshape(-1, dimension)


def hashes(layout: str) -> list[str]:
    """The `embedded_hash` of each chunk."""
    of: list[list[Any]] = json.loads(layout)
    return [each[4] for each in of]


def _own_text(chunk: Chunk, text: str) -> str | None:
    same = 0 <= chunk.start <= chunk.end and text[chunk.start : chunk.end] == chunk.text
    return None if same else chunk.text


def _join(packed: Packed) -> bytes:
    return struct.pack(f"<{len(packed)}I", *map(len, packed)) + b"".join(packed)


def _split(joined: bytes, count: int) -> list[bytes]:
    lengths = struct.unpack_from(f"<{count}I", joined)
    parts, at = [], 4 * count
    for length in lengths:
        parts.append(joined[at : at + length])
        at += length
    return parts
