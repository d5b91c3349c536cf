"""Chunks of a generation as numbers: rows, counted through all its segments."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.documents import Hit, Source, Vectors
from rag.memory.generation import Generation, Part

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows and their scores, best first."""

    rows: Rows
    scores: Scores


NOTHING = Ranked(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True, slots=True)
class Found:
    """A row with what a hit says of it."""

    row: int
    score: float
    dense: float | None
    sparse: float | None
    source: Source


class Candidates:
    """The rows of one generation."""

    def __init__(self, generation: Generation) -> None:
        self._parts = generation.parts
        sizes = [len(part.segment.chunks) for part in generation.parts]
        self.offsets: Rows = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        """The first row of each segment."""
        self._begins: list[int] = self.offsets.tolist()

    def best(self, rows: Rows, scores: npt.NDArray[np.floating], limit: int) -> Ranked:
        """Descending; of equals in the order that is the same everywhere."""
        keys = np.empty(len(rows), np.uint64)
        positions = np.empty(len(rows), np.int32)
        for part, at, places in self._by_part(rows):
            chunks = part.segment.chunks.places[places]
            keys[at] = part.segment.documents.keys[chunks[:, 3]]
            positions[at] = chunks[:, 0]
        order = np.lexsort((positions, keys, -scores))[:limit]
        return Ranked(rows[order], scores[order].astype(np.float64))

    def cosines(self, query: Vectors, rows: Rows) -> npt.NDArray[np.float32]:
        found = np.empty(len(rows), np.float32)
        for part, at, places in self._by_part(rows):
            found[at] = part.segment.chunks.dense.cosines(query, places)
        return found

    def hit(self, found: Found) -> Hit:
        at = bisect_right(self._begins, found.row) - 1
        row = found.row - self._begins[at]
        chunks, documents = self._parts[at].segment.chunks, self._parts[at].segment.documents
        position, start, end, document = chunks.places[row].tolist()
        return Hit(
            doc_id=documents.ids[document],
            node_id=chunks.node_ids[row],
            position=position,
            start=start,
            end=end,
            text=chunks.texts[row],
            metadata=json.loads(documents.metadata[document]),
            score=found.score,
            dense_score=found.dense,
            sparse_score=found.sparse,
            source=found.source,
        )

    def _by_part(self, rows: Rows) -> Iterator[tuple[Part, npt.NDArray[np.intp], Rows]]:
        """Each segment that has some of the rows: where these are in `rows`, and in the segment."""
        if len(self._parts) == 1:
            yield self._parts[0], np.arange(len(rows)), rows
            return
        for part, begin, end in zip(self._parts, self._begins, self._begins[1:], strict=False):
            places = np.flatnonzero((begin <= rows) & (rows < end))
            if len(places):
                yield part, places, rows[places] - begin
