"""Many strings as one block of bytes: no object each, nothing for the garbage collector to visit,
and a merge that copies without holding up the interpreter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Strings:
    block: npt.NDArray[np.uint8]
    """UTF-8."""
    starts: npt.NDArray[np.int64]
    """One more than there are strings."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> Strings:
        encoded = [text.encode(errors="surrogatepass") for text in texts]
        starts = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=starts[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), starts)

    @classmethod
    def merged(cls, parts: Sequence[tuple[Strings, Mask | None]]) -> Strings:
        """One after another; of each what its mask keeps, None for all."""
        blocks, lengths = [], []
        for strings, keep in parts:
            length = np.diff(strings.starts)
            lengths.append(length if keep is None else length[keep])
            for first, end in _runs(keep, len(length)):
                blocks.append(strings.block[strings.starts[first] : strings.starts[end]])
        starts = np.zeros(sum(map(len, lengths)) + 1, np.int64)
        np.cumsum(np.concatenate(lengths), out=starts[1:])
        return cls(np.concatenate(blocks) if blocks else np.empty(0, np.uint8), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, at: int) -> str:
        found = self.block[self.starts[at] : self.starts[at + 1]]
        return found.tobytes().decode(errors="surrogatepass")

    @property
    def nbytes(self) -> int:
        return self.block.nbytes + self.starts.nbytes


def _runs(keep: Mask | None, length: int) -> list[tuple[int, int]]:
    """First and end of what lies side by side, and is kept."""
    if keep is None:
        return [(0, length)] if length else []
    edges = np.flatnonzero(np.diff(keep.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
