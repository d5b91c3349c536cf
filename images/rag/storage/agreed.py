"""What the stored indexes were embedded by, told by their files before a store is opened."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from rag.documents import IndexSpec
from rag.errors import StorageError
from rag.storage import connections, names, schema
from rag.storage.directory import INDEXES
from rag.storage.present import same_model


def spec_of_all(directory: Path) -> IndexSpec | None:
    """None where there are none, or they differ, or one cannot be read. No handle stays open, and
    nothing may have these files open in this process yet (`Database`)."""
    folder = directory / INDEXES
    if not folder.is_dir():
        return None
    files = names.current([each.name for each in folder.iterdir()])
    try:
        found = [_spec(folder / str(each)) for each in files.values()]
    except (OSError, sqlite3.Error, StorageError):
        return None  # the store says what is wrong with it
    agree = found and all(same_model(each, found[0]) for each in found)
    return found[0] if agree else None


def _spec(path: Path) -> IndexSpec:
    with contextlib.closing(connections.connect(path)) as connection:
        connections.check_format(connection, path)
        return schema.header(connection).spec
