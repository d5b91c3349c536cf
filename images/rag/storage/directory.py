"""The folder that holds the indexes' files: which there are, and how one comes and goes.

<directory>/
  .lock                              whose holder writes
  indexes/<stem>.<generation>-<random>.db     an index; -wal and -shm beside it are SQLite's
  indexes/….db.corrupt-<time>        was set aside
  snapshots/<stem>/<time>/           metadata.json, index-<random>.db
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from rag.documents import IndexSpec
from rag.errors import BadRequestError, StorageError
from rag.storage import durable, names, schema
from rag.storage.filesystem import Journal
from rag.storage.names import FileName

INDEXES = "indexes"
SNAPSHOTS = "snapshots"
LOCK = ".lock"
_NAME_BYTES = 255
"""Of a file or folder, at most, wherever they are."""
_LOGS = ("-wal", "-shm", "-journal")


def timestamp() -> str:
    """Sorts as time goes, and may be a file's name anywhere."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


class Directory:
    """Changed by the writer alone."""

    def __init__(self, root: Path, journal: Journal) -> None:
        self.root = root.resolve()
        self.indexes = self.root / INDEXES
        self.snapshots = self.root / SNAPSHOTS
        self.journal: Journal = journal

    @property
    def is_new(self) -> bool:
        """Nothing was ever stored here: a snapshot from elsewhere may be taken."""
        return not self.indexes.exists()

    def prepare(self) -> None:
        durable.make_folder(self.indexes)
        for entry in names.superseded(self._entries()):
            (self.indexes / entry).unlink(missing_ok=True)

    def files(self) -> dict[str, FileName]:
        """The file of each index, by stem."""
        return names.current(self._entries())

    def path(self, file: FileName) -> Path:
        return self.indexes / str(file)

    def making(self) -> Path:
        """Where a file can be made that nobody takes for an index."""
        return self.indexes / f".making-{secrets.token_hex(8)}"

    def make(self, name: str, spec: IndexSpec, words: str) -> Path:
        """An empty index."""
        making = self.making()
        try:
            schema.make(making, name, spec, words, self.journal)
            return self.adopt(names.stem(name), making)
        except BaseException:
            self._unlink(making)
            raise

    def adopt(self, stem: str, made: Path) -> Path:
        """A file becomes the index, in place of what was it. It is closed, in one piece."""
        for suffix in ("-wal", "-journal"):
            log = made.with_name(made.name + suffix)
            if log.exists() and log.stat().st_size:
                raise StorageError(f"{made} is not in one piece: is the volume full?")
            log.unlink(missing_ok=True)
        durable.sync_file(made)
        path = self.path(FileName.next(stem, self.files().get(stem)))
        durable.move(made, path)
        return path

    def remove(self, path: Path) -> None:
        """The index's file, and what came before it: else a crash would bring that back."""
        file = FileName.parse(path.name)
        for each in sorted(FileName.parse(entry) or file for entry in self._entries() if file):
            if each is not None and file is not None and each.stem == file.stem and each < file:
                self._unlink(self.path(each))
        self._unlink(path)
        durable.sync_directory(self.indexes)

    def set_aside(self, path: Path) -> Path:
        """Out of the way, for people to look at; with its log, which SQLite finds by the name."""
        aside = path.with_name(f"{path.name}.corrupt-{timestamp()}")
        for suffix in _LOGS:
            log = path.with_name(path.name + suffix)
            if log.exists():
                log.rename(aside.with_name(aside.name + suffix))
        durable.move(path, aside)
        return aside

    def below(self, path: str) -> Path:
        """A place that a caller names. Raises BadRequestError: elsewhere on the file system is
        nothing of theirs, and among the indexes' files nothing may be written."""
        try:
            resolved = (self.root / path).resolve()
            resolved.exists()  # raises where all of it is too long
            if any(len(os.fsencode(each)) > _NAME_BYTES for each in resolved.parts):
                raise ValueError
        except (OSError, ValueError, RuntimeError):
            raise BadRequestError(f"Path {path!r} cannot be a directory's") from None
        inside = resolved != self.root and resolved.is_relative_to(self.root)
        kept = resolved.is_relative_to(self.indexes) or resolved == self.root / LOCK
        if not inside or kept:
            raise BadRequestError(
                f"Path {path} is not below the persist directory {self.root}, or is one that the "
                f"service keeps for itself. Leave `path` out, or name a directory below it"
            )
        return resolved

    def _entries(self) -> list[str]:
        return [each.name for each in self.indexes.iterdir()]

    def _unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for suffix in _LOGS:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
