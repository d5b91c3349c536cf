"""What a reader sees: segments, and what in them is dead. Never changed; the next is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rag.memory import bm25
from rag.memory.segment import Kept, Segment
from rag.memory.strings import Mask
from rag.ranking import tie_key

SMALL = 256
"""Chunks. A segment of fewer is merged with whatever comes after it."""
RATIO = 3
"""A segment of fewer than so many times the chunks that come after it is merged with them: there
are some log(chunks / SMALL) segments, and a chunk is copied about as often."""
DEAD = 0.1
"""A segment with a larger share of dead chunks is made anew without them."""


@dataclass(frozen=True)
class Part:
    """A segment, and what of it is alive."""

    segment: Segment
    alive: Kept

    @cached_property
    def chunks(self) -> int:
        keep = self.alive.chunks
        return len(self.segment.chunks) if keep is None else int(np.count_nonzero(keep))

    @cached_property
    def documents(self) -> int:
        keep = self.alive.documents
        return len(self.segment.documents) if keep is None else int(np.count_nonzero(keep))

    @cached_property
    def length(self) -> int:
        """In terms."""
        lengths = self.segment.chunks.postings.lengths
        keep = self.alive.chunks
        return int((lengths if keep is None else lengths[keep]).sum(dtype=np.int64))

    @property
    def wasteful(self) -> bool:
        return self.chunks < len(self.segment.chunks) * (1 - DEAD) or not self.documents

    def doc_ids(self) -> list[str]:
        ids, keep = self.segment.documents.ids, self.alive.documents
        rows = range(len(ids)) if keep is None else np.flatnonzero(keep).tolist()
        return [ids[row] for row in rows]

    def without(self, doc_ids: Sequence[str], keys: npt.NDArray[np.uint64]) -> Part:
        """The same where it has none of them."""
        rows = self.segment.rows(keys, doc_ids)
        before = self.alive.documents
        if before is not None:
            rows = [row for row in rows if before[row]]
        if not rows:
            return self
        documents = _all(len(self.segment.documents)) if before is None else before.copy()
        documents[rows] = False
        return Part(self.segment, Kept(documents, self.segment.of_documents(documents)))


@dataclass(frozen=True)
class Generation:
    parts: tuple[Part, ...] = ()
    """The oldest first."""

    def changed(self, gone: Sequence[str], added: Segment | None) -> Generation:
        """Without the documents that are gone, and then with a segment more."""
        parts = self.parts
        if gone:
            keys = np.array([tie_key(each) for each in gone], np.uint64)
            parts = tuple(part.without(gone, keys) for part in parts)
        return Generation(parts if added is None else (*parts, Part(added, Kept(None, None))))

    def tidied(self) -> Generation:
        """Small segments merged, the dead given up; the same generation where all is well."""
        first = _merge_from([part.chunks for part in self.parts])
        parts = []
        for part in self.parts[:first]:
            if not part.wasteful:
                parts.append(part)
            elif part.documents:
                parts.append(_merged([part]))
        last = [part for part in self.parts[first:] if part.documents]
        if len(last) == 1 and not last[0].wasteful:
            parts += last
        elif last:
            parts.append(_merged(last))
        return (
            self
            if len(parts) == len(self.parts) and _same(parts, self.parts)
            else Generation(tuple(parts))
        )

    @cached_property
    def chunks(self) -> int:
        return sum(part.chunks for part in self.parts)

    @cached_property
    def documents(self) -> int:
        return sum(part.documents for part in self.parts)

    @cached_property
    def searched(self) -> list[bm25.Searched]:
        """The parts for BM25: what it needs of all of them to weigh a chunk of one."""
        average = sum(part.length for part in self.parts) / max(self.chunks, 1)
        return [
            bm25.Searched(
                postings := part.segment.chunks.postings,
                part.alive.chunks,
                bm25.norms(postings.lengths, average),
            )
            for part in self.parts
        ]

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)


def _merge_from(sizes: Sequence[int]) -> int:
    """The first of the parts, to the last, that are made one."""
    first, after = len(sizes), 0
    while first and (not after or sizes[first - 1] < max(SMALL, RATIO * after)):
        first -= 1
        after += sizes[first]
    return first


def _merged(parts: Sequence[Part]) -> Part:
    return Part(Segment.merged([(part.segment, part.alive) for part in parts]), Kept(None, None))


def _same(some: Sequence[Part], others: Sequence[Part]) -> bool:
    return all(one is other for one, other in zip(some, others, strict=True))


def _all(count: int) -> Mask:
    return np.ones(count, np.bool_)
