"""The file's tables, and what it says of itself."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag.documents import IndexSpec
from rag.storage import connections
from rag.storage.failures import DamagedError
from rag.storage.filesystem import Journal

_PAGE_BYTES = 8192
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- doc: the order in which documents were first put
CREATE TABLE documents (
  doc INTEGER PRIMARY KEY, doc_id TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL, sum INTEGER NOT NULL,
  content_hash TEXT NOT NULL, chunks INTEGER NOT NULL, metadata TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX documents_seq ON documents (seq);
CREATE TABLE chunks (
  doc INTEGER PRIMARY KEY, layout TEXT NOT NULL, vectors BLOB NOT NULL, words BLOB NOT NULL);
CREATE TABLE deletions (seq INTEGER, doc_id TEXT, PRIMARY KEY (seq, doc_id)) WITHOUT ROWID;
"""

Values = dict[str, str | int | bytes]
"""Of the table meta."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself."""

    name: str
    uid: str
    """Of what follows by writes alone: with `seq` it says what is in the file."""
    spec: IndexSpec
    seq: int
    """Raised by each transaction."""
    floor: int
    """Deletions up to here are forgotten: who has seen less reads everything anew."""
    words: str
    """`Analyzer.signature` of the packed words."""


def make(path: Path, name: str, spec: IndexSpec, words: str, journal: Journal) -> None:
    """An empty file, closed again; the caller syncs it and moves it to its place."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA synchronous = OFF")
        connections.mark(connection)
        connection.executescript(_TABLES)
        connection.execute("BEGIN")
        set_values(connection, {"uid": secrets.token_hex(16), "seq": 0, "floor": 0})
        set_values(connection, {"name": name, "words": words} | spec_values(spec))
        connection.execute("COMMIT")
        connection.execute(f"PRAGMA journal_mode = {journal}")
    finally:
        connection.close()


def header(connection: sqlite3.Connection) -> Header:
    """Raises DamagedError."""
    values = dict(connection.execute("SELECT key, value FROM meta"))
    try:
        fingerprint = np.frombuffer(values["fingerprint"], dtype="<f4")
        spec = IndexSpec(values["model"], values["dimension"], tuple(fingerprint.tolist()))
        return Header(
            values["name"], values["uid"], spec, values["seq"], values["floor"], values["words"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"the table meta cannot be read: {error}") from error


def set_values(connection: sqlite3.Connection, values: Values) -> None:
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())


def spec_values(spec: IndexSpec) -> Values:
    fingerprint = np.asarray(spec.fingerprint, dtype="<f4").tobytes()
    return {"model": spec.model, "dimension": spec.dimension, "fingerprint": fingerprint}
