"""Bytes that are put together from memory and files, and read from wherever one goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from oci.errors import TransferError

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A file as it was when it was looked at."""

    path: Path
    size: int


Piece: TypeAlias = bytes | Part


@dataclass(frozen=True, slots=True)
class Content:
    """The pieces, one after the other. What is large is never read whole."""

    pieces: tuple[Piece, ...]

    @classmethod
    def of_file(cls, path: Path) -> Content:
        return cls((Part(path, path.stat().st_size),))

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(_size, self.pieces))

    def chunks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """From the byte `start` up to the byte before `end`."""
        end = self.size if end is None else end
        at = 0
        for piece in self.pieces:
            first, last = max(start - at, 0), min(end - at, _size(piece))
            if first < last:
                yield from _chunks(piece, first, last)
            at += _size(piece)

    def digests(self) -> tuple[str, dict[Path, str]]:
        """Of all of it, and of each file in it: `sha256:…`, from one reading."""
        whole, files = hashlib.sha256(), dict[Path, str]()
        for piece in self.pieces:
            own = hashlib.sha256()
            for chunk in _chunks(piece, 0, _size(piece)):
                whole.update(chunk)
                own.update(chunk) if isinstance(piece, Part) else None
            if isinstance(piece, Part):
                files[piece.path] = f"sha256:{own.hexdigest()}"
        return f"sha256:{whole.hexdigest()}", files


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.size


def _chunks(piece: Piece, first: int, last: int) -> Iterator[bytes]:
    if isinstance(piece, bytes):
        yield piece[first:last]
        return
    with piece.path.open("rb") as file:
        file.seek(first)
        left = last - first
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise TransferError(f"{piece.path} became shorter while it was read")
            left -= len(chunk)
            yield chunk
