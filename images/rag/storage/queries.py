"""What is asked of a file, inside one reading transaction."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from rag.documents import Document, Metadata, Page, Stored, Vectors
from rag.storage import schema
from rag.storage.failures import DamagedError
from rag.storage.records import Record, as_vectors, hashes
from rag.storage.schema import Header

_ROWS = """
SELECT sum, doc_id, content_hash, chunks, metadata, text, layout, vectors, words
FROM documents JOIN chunks USING (doc)"""


NOTHING = -1
"""A `seq` before all others."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What was written after a `seq`."""

    header: Header
    whole: bool
    """All that is there, not only what is new."""
    deleted: tuple[str, ...]
    """Some may have been put again since: then they are among what was put."""
    put: Iterator[Record]
    """To be read within the transaction. Raises DamagedError."""


def changes(connection: sqlite3.Connection, since: int) -> Changes:
    """Everything, where what was deleted since then is no longer known; `NOTHING` asks for it."""
    header = schema.header(connection)
    if since < header.floor:
        return _everything(connection, header)
    deleted = connection.execute("SELECT doc_id FROM deletions WHERE seq > ?", (since,))
    rows = connection.execute(f"{_ROWS} WHERE seq > ? ORDER BY doc", (since,))
    return Changes(header, False, tuple(each[0] for each in deleted), _records(rows))


def _everything(connection: sqlite3.Connection, header: Header) -> Changes:
    documents = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
    rows = connection.execute(f"{_ROWS} ORDER BY doc")
    return Changes(header, True, (), _counted(_records(rows), documents))


def record(connection: sqlite3.Connection, doc: int) -> Record:
    return next(_records(connection.execute(f"{_ROWS} WHERE doc = ?", (doc,))))


def stored(connection: sqlite3.Connection, doc_ids: Collection[str]) -> dict[str, Stored]:
    rows = connection.execute(
        "SELECT doc_id, content_hash, chunks FROM documents"
        " WHERE doc_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(doc_ids)),),
    )
    return {row[0]: Stored(*row) for row in rows}


def texts(connection: sqlite3.Connection, doc_ids: Collection[str]) -> dict[str, str]:
    rows = connection.execute(
        "SELECT doc_id, text FROM documents WHERE doc_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(doc_ids)),),
    )
    return dict(rows.fetchall())


def vectors(connection: sqlite3.Connection, doc_id: str, dimension: int) -> dict[str, Vectors]:
    rows = connection.execute(
        "SELECT layout, vectors FROM documents JOIN chunks USING (doc) WHERE doc_id = ?", (doc_id,)
    ).fetchall()
    if not rows:
        return {}
    layout, found = rows[0]
    return dict(zip(hashes(layout), as_vectors(found, dimension), strict=True))


def page(
    connection: sqlite3.Connection,
    limit: int,
    offset: int,
    matches: Callable[[Metadata], bool] | None,
) -> Page:
    """With `matches` the metadata of all documents are looked at, their texts are not."""
    if matches is None:
        total = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
        rows = connection.execute(
            "SELECT doc_id, text, metadata FROM documents ORDER BY doc LIMIT ? OFFSET ?",
            (limit, offset),
        )
        return Page(tuple(_document(row) for row in rows), total)
    known = connection.execute("SELECT doc, metadata FROM documents ORDER BY doc")
    found = [doc for doc, metadata in known if matches(json.loads(metadata))]
    rows = connection.execute(
        "SELECT doc_id, text, metadata FROM documents"
        " WHERE doc IN (SELECT value FROM json_each(?)) ORDER BY doc",
        (json.dumps(found[offset : offset + limit]),),
    )
    return Page(tuple(_document(row) for row in rows), len(found))


def counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Documents and chunks."""
    found: tuple[int, int] = connection.execute(
        "SELECT count(*), coalesce(sum(chunks), 0) FROM documents"
    ).fetchone()
    return found


def _document(row: tuple[str, str, str]) -> Document:
    doc_id, text, metadata = row
    return Document(doc_id, text, json.loads(metadata))


def _records(rows: sqlite3.Cursor) -> Iterator[Record]:
    with contextlib.closing(rows):  # an open cursor would keep the file open after `close`
        for expected, *columns in rows:
            record = Record(*columns)
            if record.sum != expected:
                raise DamagedError(f"document '{record.doc_id}' is not what was written: wrong sum")
            yield record


def _counted(records: Iterator[Record], expected: int) -> Iterator[Record]:
    """Two tables that do not agree are seen by the count."""
    found = 0
    for record in records:
        found += 1
        yield record
    if found != expected:
        raise DamagedError(f"{expected} documents, but chunks of {found}")
