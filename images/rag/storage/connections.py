"""How a file is opened, and what it must be before it is used."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from rag.storage.failures import DamagedError, LaterFormatError
from rag.storage.filesystem import Journal

_APPLICATION = 0x4B524147
"""`KRAG`, in the file's header."""
FORMAT = 1
"""Raised with each change that an earlier release could not read."""
_WAIT_SECONDS = 30.0
"""For another process's lock; in the journal `wal` nobody waits for anybody."""
_LOG_BYTES = 64 << 20
"""What is left of a write-ahead log after a big write."""


def connect(path: Path, *, write: bool = False) -> sqlite3.Connection:
    """Reading connections never write, not even back from the log. Transactions are by hand."""
    mode = "rw" if write else "ro"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=_WAIT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def prepare_writer(connection: sqlite3.Connection, journal: Journal, *, sync: bool) -> None:
    found = connection.execute(f"PRAGMA journal_mode = {journal}").fetchone()[0]
    if found != journal:
        raise sqlite3.OperationalError(f"journal {found} cannot be made {journal}")
    durable = "FULL" if journal == "wal" else "EXTRA"
    connection.execute(f"PRAGMA synchronous = {durable if sync else 'OFF'}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    connection.execute("PRAGMA temp_store = MEMORY")  # the image's own file system may be read-only


def mark(connection: sqlite3.Connection) -> None:
    """As a file of this format."""
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Before anything else is asked or written. Raises DamagedError, LaterFormatError."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION or version < 1:
        raise DamagedError(f"{path} is no index")
    if version > FORMAT:
        raise LaterFormatError(
            f"{path} has format {version}, and this release reads formats up to {FORMAT}: "
            "use the release that wrote it, or a later one"
        )


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Raises DamagedError."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedError(f"{path}: {found}")
