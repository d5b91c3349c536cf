"""Documents that came together, with all that searching and showing them needs. Never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from rag import filters
from rag.documents import EmbeddedDocument, Metadata
from rag.memory.bm25 import Postings
from rag.memory.dense import Dense
from rag.memory.inverted import Inverted
from rag.memory.strings import Mask, Strings
from rag.ranking import tie_key

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a segment goes on into a merged one; None for all."""

    documents: Mask | None
    chunks: Mask | None


@dataclass(frozen=True, slots=True)
class Chunks:
    """A row for each chunk, those of a document side by side."""

    dense: Dense
    postings: Postings
    node_ids: Strings
    texts: Strings
    places: Integers
    """(chunks, 4): position, start and end, and the document's row."""

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, each.name).nbytes for each in fields(self))

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, slots=True)
class Documents:
    """A row for each document."""

    ids: Strings
    metadata: Strings
    """JSON."""
    keys: npt.NDArray[np.uint64]
    """`ranking.tie_key` of the id."""
    by_key: npt.NDArray[np.int64]
    """Rows in ascending order of their keys."""
    tags: Inverted
    """`filters.tokens` of the metadata."""

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, each.name).nbytes for each in fields(self))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Segment:
    chunks: Chunks
    documents: Documents

    @classmethod
    def of(cls, documents: Sequence[EmbeddedDocument], packed: Sequence[bytes]) -> Segment:
        """`packed` is that of every chunk, in order; vectors have been checked."""
        chunks = [chunk for each in documents for chunk in each.chunks]
        sizes = [len(each.chunks) for each in documents]
        places = np.empty((len(chunks), 4), np.int32)
        for column, name in enumerate(("position", "start", "end")):
            places[:, column] = [getattr(chunk, name) for chunk in chunks]
        places[:, 3] = np.repeat(np.arange(len(documents)), sizes)
        return cls(
            Chunks(
                Dense(np.concatenate([each.vectors for each in documents])),
                Postings.of(packed),
                Strings.of(chunk.node_id for chunk in chunks),
                Strings.of(chunk.text for chunk in chunks),
                places,
            ),
            _documents(documents),
        )

    @classmethod
    def merged(cls, parts: Sequence[tuple[Segment, Kept]]) -> Segment:
        """One after another."""
        chunks = [(each.chunks, kept.chunks) for each, kept in parts]
        return cls(
            Chunks(
                Dense.merged([(each.dense, keep) for each, keep in chunks]),
                Postings.merged([(each.postings, keep) for each, keep in chunks]),
                Strings.merged([(each.node_ids, keep) for each, keep in chunks]),
                Strings.merged([(each.texts, keep) for each, keep in chunks]),
                np.concatenate(list(_places(parts))),
            ),
            _merged_documents([(each.documents, kept.documents) for each, kept in parts]),
        )

    def rows(self, keys: npt.NDArray[np.uint64], doc_ids: Sequence[str]) -> list[int]:
        """The documents of these ids, given with their keys; those that are not here left out."""
        documents = self.documents
        ordered = documents.keys[documents.by_key]
        begins = np.searchsorted(ordered, keys, side="left")
        ends = np.searchsorted(ordered, keys, side="right")
        return [
            row
            for asked in np.flatnonzero(ends > begins).tolist()
            for row in documents.by_key[begins[asked] : ends[asked]].tolist()
            if documents.ids[row] == doc_ids[asked]
        ]

    def allowed(self, wanted: Metadata) -> Mask:
        """The chunks whose document a filter lets pass."""
        passed = np.ones(len(self.documents), np.bool_)
        for token in filters.tokens(wanted):
            one = np.zeros(len(self.documents), np.bool_)
            one[self.documents.tags.rows_of(token)] = True
            passed &= one
        return self.of_documents(passed)

    def of_documents(self, documents: Mask) -> Mask:
        """A mask of documents as one of their chunks."""
        return documents[self.chunks.places[:, 3]]

    @property
    def nbytes(self) -> int:
        return self.chunks.nbytes + self.documents.nbytes


def _documents(documents: Sequence[EmbeddedDocument]) -> Documents:
    keys = np.array([tie_key(each.document.doc_id) for each in documents], np.uint64)
    tokens = [filters.tokens(each.document.metadata) for each in documents]
    rows = np.repeat(np.arange(len(documents), dtype=np.int32), [len(each) for each in tokens])
    return Documents(
        Strings.of(each.document.doc_id for each in documents),
        Strings.of(_encode(each.document.metadata) for each in documents),
        keys,
        np.argsort(keys, kind="stable"),
        Inverted.of(np.array([one for each in tokens for one in each], np.uint64), rows),
    )


def _merged_documents(parts: Sequence[tuple[Documents, Mask | None]]) -> Documents:
    keys = np.concatenate([each.keys if keep is None else each.keys[keep] for each, keep in parts])
    return Documents(
        Strings.merged([(each.ids, keep) for each, keep in parts]),
        Strings.merged([(each.metadata, keep) for each, keep in parts]),
        keys,
        np.argsort(keys, kind="stable"),
        Inverted.merged([(each.tags, keep, len(each)) for each, keep in parts]),
    )


def _places(parts: Sequence[tuple[Segment, Kept]]) -> Iterator[Integers]:
    """With the documents' rows as they are in what is merged."""
    offset = 0
    for segment, kept in parts:
        places = segment.chunks.places.copy()
        if kept.documents is None or kept.chunks is None:
            places[:, 3] += offset
            offset += len(segment.documents)
        else:
            moved = np.cumsum(kept.documents, dtype=np.int32) + np.int32(offset - 1)
            places = places[kept.chunks]
            places[:, 3] = moved[places[:, 3]]
            offset += int(np.count_nonzero(kept.documents))
        yield places
