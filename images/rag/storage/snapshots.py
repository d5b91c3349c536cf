"""Snapshots of one index: written whole or not at all, and checked before they are used.

A folder with a file of the index, as it was at one moment, and its manifest, which is written last:
without that it is no snapshot.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from rag.errors import BadRequestError, RagError
from rag.storage import connections, durable, queries, schema
from rag.storage.database import Database
from rag.storage.directory import timestamp
from rag.storage.failures import translated
from rag.storage.manifest import METADATA, Snapshot, read, sum_of, verify


def write(database: Database, target: Path) -> Snapshot:
    """Where a snapshot is already, it is replaced in one step; a folder with anything else in it is
    left alone. Raises BadRequestError, StorageError."""
    if target.exists() and not _may_write(target):
        raise BadRequestError(f"{target} exists and is no snapshot: name another path")
    with translated(f"Snapshot {target} cannot be written"):
        durable.make_folder(target.parent)
        making = target.parent / f".making-{secrets.token_hex(8)}"
        making.mkdir()
        try:
            snapshot = copy(database, making)
            durable.write_whole(making / METADATA, snapshot.as_file())
            _put_in_place(making, target, snapshot.file)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return snapshot


def copy(database: Database, folder: Path) -> Snapshot:
    """The index's file alone, synced."""
    file = folder / f"index-{secrets.token_hex(4)}.db"
    database.copy_to(file)
    durable.sync_file(file)
    connection = connections.connect(file)
    with contextlib.closing(connection):
        header, (documents, chunks) = schema.header(connection), queries.counts(connection)
    return Snapshot(
        *(header.name, timestamp(), header.uid, header.seq, header.spec, documents, chunks),
        *(file.name, file.stat().st_size, sum_of(file)),
    )


def newest_first(folder: Path) -> Iterator[Path]:
    """Of what lies at the default place of an index."""
    with contextlib.suppress(FileNotFoundError):
        found = [each for each in folder.iterdir() if (each / METADATA).is_file()]
        yield from sorted(found, key=lambda each: each.name, reverse=True)


def newest_good(folder: Path) -> Path | None:
    """That is whole, by its sum."""
    for each in newest_first(folder):
        with contextlib.suppress(RagError, sqlite3.Error):
            snapshot = read(each)
            verify(each / snapshot.file, snapshot)
            return each
    return None


def prune(folder: Path, keep: int) -> None:
    for old in list(newest_first(folder))[keep:]:
        (old / METADATA).unlink(missing_ok=True)  # no snapshot from here on
        shutil.rmtree(old, ignore_errors=True)


def _may_write(target: Path) -> bool:
    if not target.is_dir():
        return False
    return (target / METADATA).is_file() or not any(target.iterdir())


def _put_in_place(making: Path, target: Path, file: str) -> None:
    if not target.exists():
        durable.sync_directory(making)
        durable.move(making, target)
        return
    (making / file).replace(target / file)
    durable.sync_directory(target)
    durable.move(making / METADATA, target / METADATA)
    for old in target.glob("index-*.db"):
        if old.name != file:
            old.unlink()
