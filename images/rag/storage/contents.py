"""A file's documents in memory, as of one of its transactions.

The file goes first: what is not durable is not shown. Where the file was made with another
embedder, memory holds vectors of the present one, and the file gets them (`renew`) once it may be
written; never do two models' vectors meet.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence

from rag.documents import Batch, EmbeddedDocument, Vectors
from rag.memory.index import MemoryIndex
from rag.storage import queries, records
from rag.storage.database import Database
from rag.storage.present import Present, same_model
from rag.storage.records import Record
from rag.storage.schema import Header

logger = logging.getLogger(__name__)

_CHUNKS_AT_ONCE = 25_000
"""Memory is built in parts of that size; big enough that few segments arise."""


class Contents:
    """One thread at a time changes it; any number read `memory`."""

    def __init__(self, present: Present) -> None:
        self.memory: MemoryIndex = present.memory()
        self._present = present
        self._seq = queries.NOTHING
        self._made_with: Header | None = None
        self._renewed: dict[str, tuple[int, Vectors]] = {}
        """By document: what they were made of, and vectors that are not in the file yet."""

    def follow(self, database: Database) -> None:
        """Show what was written since the last time; everything, the first time."""
        with database.reading() as connection:
            found = queries.changes(connection, self._seq)
            # The transaction ends before embedding begins: it may hold up a writer.
            put = list(found.put)
        self._made_with = found.header
        embedded, words = self._decode(put, found.header)
        memory = self._present.memory() if found.whole else self.memory
        # What is shown already changes at once; what nobody sees yet is built in parts.
        size = _CHUNKS_AT_ONCE if found.whole else sys.maxsize
        for batch, packed in _parts(embedded, words, found.deleted, size):
            memory.apply(batch, packed)
        self.memory = memory
        self._seq = found.header.seq

    def renew(self, database: Database) -> None:
        """Write back what the present embedder and analyzer make of the file's texts."""
        header = self._made_with
        if header is None or self._current(header):
            return
        spec, words = self._present.spec, self._present.analyzer.signature
        self._seq = database.rewrite(self._renew, spec, words)
        self._made_with = None
        self._renewed = {}
        logger.info("Index %s: written anew for %s", header.name, self._present.spec.model)

    def write(self, database: Database, batch: Batch) -> None:
        """Durable first, then seen."""
        if self._seq == queries.NOTHING:
            self.follow(database)
        memory, dimension = self.memory, self._present.spec.dimension
        packed = memory.pack(batch)
        prepared = memory.prepare(batch, packed)
        rows = [
            records.encode(each, words, dimension)
            for each, words in zip(batch.put, packed, strict=True)
        ]
        seq = database.write(rows, batch.delete)
        try:
            memory.commit(prepared)
        except BaseException:
            self._seq = queries.NOTHING  # durable, but not seen: read before the next write
            raise
        self._seq = seq

    def vectors_fit(self, header: Header) -> bool:
        """Whether the file's vectors are of the present embedder."""
        return same_model(header.spec, self._present.spec)

    @property
    def embeds_anew(self) -> bool:
        return self._made_with is not None and not self.vectors_fit(self._made_with)

    def _current(self, header: Header) -> bool:
        return self.vectors_fit(header) and header.words == self._present.analyzer.signature

    def _decode(
        self, put: Sequence[Record], header: Header
    ) -> tuple[list[EmbeddedDocument], list[list[bytes]] | None]:
        decoded = [records.decode(each, header.spec.dimension) for each in put]
        embedded = [each for each, _ in decoded]
        if not self.vectors_fit(header):
            embedded = self._embed_anew(embedded, put, header)
        if header.words != self._present.analyzer.signature:
            return embedded, None
        return embedded, [words for _, words in decoded]

    def _embed_anew(
        self, found: Sequence[EmbeddedDocument], put: Sequence[Record], header: Header
    ) -> list[EmbeddedDocument]:
        logger.info(
            "Index %s was embedded by %s, now it is %s: embedding %d documents anew",
            *(header.name, header.spec.model, self._present.spec.model, len(found)),
        )
        vectors = self._present.embed_anew(
            header.name, [(each.document, each.chunks) for each in found]
        )
        for record, of in zip(put, vectors, strict=True):
            self._renewed[record.doc_id] = (_made_of(record), of)
        return [
            dataclasses.replace(each, vectors=of) for each, of in zip(found, vectors, strict=True)
        ]

    def _renew(self, record: Record) -> Record:
        header = self._made_with
        if header is None:
            return record
        embedded, _ = records.decode(record, header.spec.dimension)
        if not self.vectors_fit(header):
            vectors = self._renewed_vectors(embedded, record)
            embedded = dataclasses.replace(embedded, vectors=vectors)
        words = self._present.words(embedded)
        return records.encode(embedded, words, self._present.spec.dimension)

    def _renewed_vectors(self, embedded: EmbeddedDocument, record: Record) -> Vectors:
        made_of, vectors = self._renewed.get(record.doc_id, (0, embedded.vectors))
        if made_of == _made_of(record):
            return vectors
        return self._present.embed_anew(record.doc_id, [(embedded.document, embedded.chunks)])[0]


def _made_of(record: Record) -> int:
    return hash((record.content_hash, record.layout))


def _parts(
    embedded: Sequence[EmbeddedDocument],
    words: Sequence[list[bytes]] | None,
    deleted: tuple[str, ...],
    size: int,
) -> Iterator[tuple[Batch, list[list[bytes]] | None]]:
    """Deletions come with the first part."""
    start = chunks = 0
    for end, each in enumerate(embedded, 1):
        chunks += len(each.chunks)
        if chunks >= size or end == len(embedded):
            part = None if words is None else list(words[start:end])
            yield Batch(tuple(embedded[start:end]), deleted), part
            deleted, start, chunks = (), end, 0
    if deleted:
        yield Batch((), deleted), None
