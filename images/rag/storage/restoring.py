"""From a file to an index that can be searched, and what becomes of a file that cannot."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from rag.storage import connections, names, schema, snapshots
from rag.storage.database import Database
from rag.storage.directory import Directory
from rag.storage.failures import DamagedError
from rag.storage.index import Gate, LocalIndex
from rag.storage.names import FileName
from rag.storage.present import Present

logger = logging.getLogger(__name__)


class Problems:
    """What people have to know, as long as it is so; also told in the log when it begins."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._lock = threading.Lock()

    def all(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._told.values())

    def tell(self, key: str, text: str) -> None:
        with self._lock:
            known = self._told.get(key) == text
            self._told[key] = text
        if not known:
            logger.error("%s", text)

    def solved(self, key: str) -> None:
        with self._lock:
            self._told.pop(key, None)


@dataclass(frozen=True, slots=True)
class Opener:
    directory: Directory
    present: Present
    gate: Gate
    sync: bool

    def database(self, path: Path) -> Database:
        return Database(path, self.directory.journal, sync=self.sync)

    def open(self, path: Path, *, own: bool) -> LocalIndex:
        """The index with all its documents in memory; `own` where this process is the writer.
        Raises DamagedError, LaterFormatError, GoneError, StorageError, EmbedderError."""
        database = self.database(path)
        try:
            if own:
                database.own()  # first: only a writer can take back what was left half done
            with database.reading() as connection:
                connections.check_format(connection, path)
                connections.check_pages(connection, path)
                header = schema.header(connection)
            _expect_name(path, header.name)
            index = LocalIndex(header.name, database, self.present, self.gate)
            index.refresh()
        except BaseException:
            database.close()
            raise
        return index


def set_aside(directory: Directory, path: Path, error: DamagedError, problems: Problems) -> None:
    """The others go on, and this one's newest good snapshot is named, if there is one."""
    file = FileName.parse(path.name)
    stem = path.name if file is None else file.stem
    aside = directory.set_aside(path)
    good = snapshots.newest_good(directory.snapshots / stem)
    remedy = (
        f"its newest good snapshot is {good}: POST /load/<index>?path={good}"
        if good is not None
        else "it has no good snapshot: put its documents again"
    )
    problems.tell(aside.name, f"{error.detail}. The file was set aside as {aside}; {remedy}")


def _expect_name(path: Path, name: str) -> None:
    file = FileName.parse(path.name)
    if file is not None and file.stem != names.stem(name):
        raise DamagedError(f"{path} says it is index '{name}', which its name is not of")
