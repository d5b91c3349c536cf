"""Exact dense search: all cosines of a segment, by faiss.

One thread a search. On few cores a team of threads waits, spinning, for whichever of them has no
core just now, and that is longer than the work; many searches at once keep the cores as busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from rag.documents import Vectors
from rag.memory.strings import Mask

_BLAS_FROM = 6
"""Queries at once; one matrix product then costs less than a pass over the vectors for each."""
_OVERFETCH = 2048
"""So many dead are rather asked for and dropped: with a selector faiss has no matrix product."""

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""For each query cosines, descending, and rows; -1 where there is none."""

_library: Any = faiss
"""Its Python layer replaces what its types tell of."""


class Dense:
    """The vectors of a segment, each of unit length, so that inner products are cosines."""

    def __init__(self, vectors: Vectors) -> None:
        count, dimension = vectors.shape
        self._index: Any = faiss.IndexFlatIP(dimension)
        self._index.add(np.ascontiguousarray(vectors, np.float32))
        self.rows: Vectors = np.empty((0, dimension), np.float32)
        """What the index holds, not a copy."""
        if count:
            held = faiss.rev_swig_ptr(self._index.get_xb(), count * dimension)
            self.rows = held.reshape(count, dimension)

    @classmethod
    def merged(cls, parts: Sequence[tuple[Dense, Mask | None]]) -> Dense:
        kept = [each.rows if keep is None else each.rows[keep] for each, keep in parts]
        return cls(kept[0] if len(kept) == 1 else np.concatenate(kept))

    def search(self, queries: Vectors, limit: int, allowed: Mask | None) -> Found:
        """The best of those allowed, None for all; exact."""
        if allowed is None:
            return self._search(queries, limit, None)
        barred = len(allowed) - int(np.count_nonzero(allowed))
        if barred > _OVERFETCH:
            return self._search(queries, limit, np.packbits(allowed, bitorder="little"))
        similar, rows = self._search(queries, limit + barred, None)
        return similar, np.where(allowed[rows], rows, -1)

    def cosines(self, query: Vectors, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Of some rows. The same to the last bit whatever else is asked for, which a matrix
        product is not: equal vectors get equal scores."""
        found: npt.NDArray[np.float32] = np.einsum("ij,j->i", self.rows[rows], query)
        return found

    def _search(self, queries: Vectors, limit: int, bits: npt.NDArray[np.uint8] | None) -> Found:
        _settle(self.rows.shape[1])
        selected = None
        if bits is not None:
            selected = _library.SearchParameters(sel=_library.IDSelectorBitmap(bits))
        limit = min(limit, len(self.rows))
        if not limit:
            nothing = np.empty((len(queries), 0))
            return nothing.astype(np.float32), nothing.astype(np.int64)
        similar, rows = self._index.search(queries, limit, params=selected)
        return similar, rows

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes


def _settle(dimension: int) -> None:
    """How faiss works: the first is of the calling thread alone, the second of the process."""
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = _BLAS_FROM * dimension
