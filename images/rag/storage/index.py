"""One named index: its file for what lasts, its contents in memory for what is searched."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from rag import filters
from rag.documents import Batch, Hit, IndexSpec, Metadata, Page, Query, Stored, Vectors
from rag.errors import NotWritableError, UnknownIndexError
from rag.storage import queries, schema
from rag.storage.contents import Contents
from rag.storage.database import Database
from rag.storage.failures import GoneError
from rag.storage.present import Present

Answer = TypeVar("Answer")


class LocalIndex:
    """`protocols.Index`. The object stays the same for as long as the name stands for an index,
    also where `load` puts another file in the old one's place."""

    def __init__(self, name: str, database: Database, present: Present, gate: Gate) -> None:
        """`contents` is empty until `refresh`."""
        self._name = name
        self._database = database
        self._present = present
        self._gate = gate
        self._contents = Contents(present)
        self._writing = threading.Lock()
        self._version = -1
        self._dropped = False
        self._owned = False
        self._sealed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def spec(self) -> IndexSpec:
        return self._present.spec

    @property
    def database(self) -> Database:
        return self._database

    def apply(self, batch: Batch) -> None:
        batch = _without_repeats(batch)
        if not batch.put and not batch.delete:
            return
        self._gate.enter()
        with self._writing:
            self._expect_present()
            if self._sealed:
                raise NotWritableError(f"Index '{self._name}' is closed", retry_after=1.0)
            self._make_own()
            self._contents.write(self._database, batch)
        self._gate.written()

    def stored(self, doc_ids: Collection[str]) -> Mapping[str, Stored]:
        return self._read(lambda connection: queries.stored(connection, doc_ids))

    def texts(self, doc_ids: Collection[str]) -> Mapping[str, str]:
        return self._read(lambda connection: queries.texts(connection, doc_ids))

    def vectors(self, doc_id: str) -> Mapping[str, Vectors]:
        """None while the file still has another model's."""

        def ask(connection: sqlite3.Connection) -> Mapping[str, Vectors]:
            header = schema.header(connection)
            if not self._contents.vectors_fit(header):
                return {}
            return queries.vectors(connection, doc_id, header.spec.dimension)

        return self._read(ask)

    def page(self, *, limit: int, offset: int, metadata_filter: Metadata | None = None) -> Page:
        def matches(metadata: Metadata) -> bool:
            return filters.matches(metadata, metadata_filter)

        asked = matches if metadata_filter else None
        return self._read(lambda connection: queries.page(connection, limit, offset, asked))

    def search(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        return self._contents.memory.search(queries)

    def count(self) -> tuple[int, int]:
        return self._contents.memory.count()

    # What follows is the store's.

    @property
    def embeds_anew(self) -> bool:
        """What others write has to be embedded anew before it is shown."""
        return self._contents.embeds_anew

    def refresh(self) -> None:
        """Show what others have written; everything, the first time."""
        version = self._database.changed(self._version)
        if version == self._version:
            return
        with self._writing:
            if not self._dropped:
                self._contents.follow(self._database)
        self._version = version

    def own(self) -> None:
        """This process is the writer from here on; the file may be another embedder's still."""
        with self._writing:
            if not self._dropped:
                self._make_own()

    def with_file(self, work: Callable[[Database], Answer]) -> Answer:
        """Again where the file was replaced meanwhile. Raises UnknownIndexError where it went."""
        while True:
            self._expect_present()
            database = self._database
            try:
                return work(database)
            except GoneError as error:
                if database is self._database and not self._dropped:
                    raise GoneError(f"The file of index '{self._name}' is closed") from error

    def replace(self, by: Callable[[], LocalIndex]) -> None:
        """The other's file and contents are this index's from now on. Nothing is written while
        `by` makes it, so that no acknowledged write is in neither."""
        with self._writing:
            other = by()
            old, self._database = self._database, other._database
            self._contents, self._version = other._contents, other._version
            self._owned = other._owned
        old.close()

    def move(self, move: Callable[[], Database]) -> LocalIndex:
        """To where `move` puts the file, which is closed meanwhile."""
        with self._writing:
            self._database.close()
            self._database = move()
            self._version, self._owned = -1, False
        return self

    def seal(self) -> None:
        """Nothing is written any more once this returns."""
        with self._writing:
            self._sealed = True

    def close(self, *, dropped: bool = False) -> None:
        with self._writing:
            self._dropped = self._dropped or dropped
            self._database.close()

    def _make_own(self) -> None:
        """What the last writer wrote is seen, and has vectors of our model, before the first write
        of ours; tried again at the next one where it fails."""
        if self._owned:
            return
        self._database.own()
        self._contents.follow(self._database)
        self._contents.renew(self._database)
        self._owned = True

    def _expect_present(self) -> None:
        if self._dropped:
            raise UnknownIndexError(self._name)

    def _read(self, ask: Callable[[sqlite3.Connection], Answer]) -> Answer:
        def work(database: Database) -> Answer:
            with database.reading() as connection:
                return ask(connection)

        return self.with_file(work)


class Gate(Protocol):
    """Whether writing is allowed; what the store tells its indexes."""

    def enter(self) -> None:
        """Raises NotWritableError."""

    def written(self) -> None:
        """Something was."""


def _without_repeats(batch: Batch) -> Batch:
    """The last of a document counts; what is put need not be deleted before."""
    put = {each.document.doc_id: each for each in batch.put}
    delete = tuple(dict.fromkeys(each for each in batch.delete if each not in put))
    return Batch(tuple(put.values()), delete)
