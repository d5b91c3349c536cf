"""SQLite's and the system's errors, in the service's words.

StorageError
├── StorageFullError      no room: reading goes on
├── DamagedError          not what was written: set aside
└── LaterFormatError      written by a later release: left alone
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from rag.errors import StorageError, StorageFullError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PRIMARY = 0xFF
"""The lowest byte of SQLite's extended codes is the kind."""


class DamagedError(StorageError):
    """A file that does not hold what was written into it."""


class LaterFormatError(StorageError):
    """A file of a release to come."""


class GoneError(StorageError):
    """The file is not there any more: its index was dropped, or replaced."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors that come out of the block, as StorageError and its kinds."""
    try:
        yield
    except sqlite3.Error as error:
        raise _of_sqlite(error, what) from error
    except UnicodeDecodeError as error:
        raise DamagedError(f"{what}: {error}") from error
    except OSError as error:
        kind = StorageFullError if error.errno in _FULL else StorageError
        raise kind(f"{what}: {error.strerror or error}") from error


def _of_sqlite(error: sqlite3.Error, what: str) -> StorageError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    text = f"{what}: {error}"
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError(f"{text}. Nothing of it was stored; make room on the volume")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedError(text)
    if code == sqlite3.SQLITE_CANTOPEN:
        return GoneError(text)
    return StorageError(text)
