"""Which rows have a key: for each key of a segment its rows, in three arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.memory.strings import Mask

Keys = npt.NDArray[np.unsignedinteger[Any]]
Rows = npt.NDArray[np.int32]
Counts = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Inverted:
    keys: Keys
    """Distinct, ascending."""
    starts: npt.NDArray[np.int64]
    """Where a key's rows begin; one more than there are keys."""
    rows: Rows
    """Ascending within a key."""
    counts: Counts
    """How often the row has the key; empty where nobody asks."""

    @classmethod
    def of(cls, keys: Keys, rows: Rows, counts: Counts | None = None) -> Inverted:
        """From pairs, ascending by row; `counts` beside them."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        firsts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        firsts = firsts[: len(ordered)]  # none of none
        return cls(
            ordered[firsts],
            np.append(firsts, len(ordered)).astype(np.int64),
            rows[order],
            np.empty(0, np.uint16) if counts is None else counts[order],
        )

    @classmethod
    def merged(cls, parts: Sequence[tuple[Inverted, Mask | None, int]]) -> Inverted:
        """One after another; of each what its mask keeps, and how many rows it has."""
        keys, rows, counts = [], [], []
        offset = 0
        for part, keep, length in parts:
            each_key = np.repeat(part.keys, np.diff(part.starts))
            if keep is None:
                keys.append(each_key)
                rows.append(part.rows + np.int32(offset))
                counts.append(part.counts)
                offset += length
                continue
            kept = keep[part.rows]
            places = np.cumsum(keep, dtype=np.int32) + np.int32(offset - 1)
            keys.append(each_key[kept])
            rows.append(places[part.rows[kept]])
            counts.append(part.counts[kept] if len(part.counts) else part.counts)
            offset += int(np.count_nonzero(keep))
        joined = np.concatenate(counts)
        return cls.of(np.concatenate(keys), np.concatenate(rows), joined if len(joined) else None)

    def spans(self, keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Begin and end of each key's rows; equal where it has none."""
        if not len(self.keys):
            nothing = np.zeros(len(keys), np.int64)
            return nothing, nothing
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        begins = self.starts[places]
        ends = np.where(self.keys[places] == keys, self.starts[places + 1], begins)
        return begins, ends

    def rows_of(self, key: int) -> Rows:
        begins, ends = self.spans(np.array([key]).astype(self.keys.dtype))
        return self.rows[int(begins[0]) : int(ends[0])]

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in (self.keys, self.starts, self.rows, self.counts))
