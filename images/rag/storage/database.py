"""One index's file: transactions that write, and connections that read beside them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rag.documents import IndexSpec
from rag.errors import NotWritableError
from rag.storage import connections, queries, schema
from rag.storage.failures import GoneError, translated
from rag.storage.filesystem import Journal
from rag.storage.records import Record

REMEMBERED = 1000
"""Transactions whose deletions a follower can still learn one by one."""
_IDLE_READERS = 4

_PUT = """
INSERT INTO documents (doc_id, seq, sum, content_hash, chunks, metadata, text)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (doc_id) DO UPDATE SET
  seq = excluded.seq, sum = excluded.sum, content_hash = excluded.content_hash,
  chunks = excluded.chunks, metadata = excluded.metadata, text = excluded.text
RETURNING doc"""


class Database:
    """Any number of threads read; the caller lets in one writer at a time.

    No other handle to the file may be opened in this process: closing it would drop SQLite's locks.
    """

    def __init__(self, path: Path, journal: Journal, *, sync: bool) -> None:
        self.path = path
        self._journal: Journal = journal
        self._sync = sync
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._watch: sqlite3.Connection | None = None
        self._closed = False

    @property
    def owned(self) -> bool:
        return self._writer is not None

    def own(self) -> None:
        """From now on it may be written; also takes back what a killed writer left half done."""
        if self._writer is not None:
            return
        with translated(f"Index file {self.path.name} cannot be opened"):
            writer = connections.connect(self.path, write=True)
            try:
                connections.check_format(writer, self.path)
                connections.prepare_writer(writer, self._journal, sync=self._sync)
            except BaseException:
                writer.close()
                raise
        self._writer = writer

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the file as it was at the first question."""
        with translated(f"Index file {self.path.name} cannot be read"):
            connection = self._reader()
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()  # whatever state it is in
                raise
            self._give_back(connection)

    def header(self) -> schema.Header:
        with self.reading() as connection:
            return schema.header(connection)

    def changed(self, since: int) -> int:
        """A number that differs from `since` where others have written; cheap."""
        with translated(f"Index file {self.path.name} cannot be read"):
            if self._watch is None:
                self._watch = connections.connect(self.path)
            version: int = self._watch.execute("PRAGMA data_version").fetchone()[0]
        return version

    def write(self, put: Sequence[Record], delete: Collection[str]) -> int:
        """The transaction's `seq`. It is durable when this returns."""
        with self._writing() as connection:
            seq = self._next(connection)
            for doc_id in delete:
                _delete(connection, doc_id, seq)
            for record in put:
                _put(connection, record, seq)
            if seq % 100 == 0:
                _forget(connection, seq - REMEMBERED)
        return seq

    def rewrite(self, renewed: Callable[[Record], Record], spec: IndexSpec, words: str) -> int:
        """All documents anew, and what they were made with: another embedder, or analyzer. By the
        floor followers read all of it again."""
        with self._writing() as connection:
            seq = self._next(connection)
            for row in connection.execute("SELECT doc FROM documents").fetchall():
                _put(connection, renewed(queries.record(connection, row[0])), seq)
            made_with = schema.spec_values(spec)
            schema.set_values(connection, made_with | {"floor": seq, "words": words})
        return seq

    def set(self, values: schema.Values) -> None:
        """What the file says of itself."""
        with self._writing() as connection:
            schema.set_values(connection, values)

    def copy_to(self, target: Path) -> None:
        """All of it at one moment, in one file; the caller syncs it. Writes go on meanwhile where
        the journal is `wal`."""
        with self.reading() as connection:
            copy = sqlite3.connect(target, isolation_level=None)
            try:
                copy.execute("PRAGMA synchronous = OFF")
                connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for each in (*idle, self._watch, self._writer):
            if each is not None:
                each.close()
        self._watch = self._writer = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._writer
        if connection is None:
            raise NotWritableError(f"Index file {self.path.name} is written by another process")
        with translated(f"Index file {self.path.name} cannot be written"):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # Where the disk was full or failed, SQLite may have rolled back by itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _next(self, connection: sqlite3.Connection) -> int:
        seq: int = connection.execute(
            "UPDATE meta SET value = value + 1 WHERE key = 'seq' RETURNING value"
        ).fetchall()[0][0]
        return seq

    def _reader(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise GoneError(f"Index file {self.path.name} is closed")
            if self._idle:
                return self._idle.pop()
        return connections.connect(self.path)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()


def _put(connection: sqlite3.Connection, record: Record, seq: int) -> None:
    known = (record.content_hash, record.chunks, record.metadata, record.text)
    found = connection.execute(_PUT, (record.doc_id, seq, record.sum, *known)).fetchall()
    connection.execute(
        "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?)",
        (found[0][0], record.layout, record.vectors, record.words),
    )


def _delete(connection: sqlite3.Connection, doc_id: str, seq: int) -> None:
    found = connection.execute(
        "DELETE FROM documents WHERE doc_id = ? RETURNING doc", (doc_id,)
    ).fetchall()
    if found:
        connection.execute("DELETE FROM chunks WHERE doc = ?", found[0])
        connection.execute("INSERT OR REPLACE INTO deletions VALUES (?, ?)", (seq, doc_id))


def _forget(connection: sqlite3.Connection, floor: int) -> None:
    if connection.execute("DELETE FROM deletions WHERE seq <= ?", (floor,)).rowcount:
        schema.set_values(connection, {"floor": floor})
