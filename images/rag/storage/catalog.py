"""The indexes there are: those in memory, those on their way there, and those that cannot come."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from rag.errors import InvalidError, NotReadyError, RagError, StorageError, UnknownIndexError
from rag.storage import names, restoring
from rag.storage.directory import Directory
from rag.storage.failures import DamagedError, GoneError, LaterFormatError
from rag.storage.index import LocalIndex
from rag.storage.names import FileName
from rag.storage.restoring import Opener, Problems

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_THREADS = 2
"""That restore: one waits for the disk while the other computes."""


@dataclass(frozen=True, slots=True)
class _Refused:
    file: FileName
    text: str
    until: float
    """When it is tried again."""


class Catalog:
    def __init__(self, directory: Directory, opener: Opener, problems: Problems) -> None:
        self.writes = False
        """Whether this process is the writer."""
        self._directory = directory
        self._opener = opener
        self._problems = problems
        self._lock = threading.RLock()
        self._indexes: dict[str, LocalIndex] = {}
        self._pending: dict[str, Future[None]] = {}
        self._refused: dict[str, _Refused] = {}
        self._refreshing: dict[str, Future[None]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="restore")

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._indexes)

    def indexes(self) -> list[LocalIndex]:
        with self._lock:
            return list(self._indexes.values())

    def get(self, name: str) -> LocalIndex:
        """Raises UnknownIndexError, NotReadyError, StorageError."""
        with self._lock:
            if (index := self._indexes.get(name)) is not None:
                return index
            try:
                names.validate(name)
            except InvalidError:
                raise UnknownIndexError(name) from None
            stem = names.stem(name)
            if stem in self._pending:
                raise NotReadyError(f"Index '{name}' is being restored", retry_after=_RETRY_SECONDS)
            if (refused := self._refused.get(stem)) is not None:
                raise StorageError(refused.text)
        raise UnknownIndexError(name)

    def add(self, index: LocalIndex) -> None:
        with self._lock:
            self._indexes[index.name] = index

    def discard(self, index: LocalIndex) -> None:
        """It answers nobody any more."""
        with self._lock:
            self._indexes.pop(index.name, None)
        index.close(dropped=True)

    def restore_all(self) -> None:
        """All that are on disk, before anything else. Raises EmbedderError."""
        self.look()
        with self._lock:
            pending = list(self._pending.values())
        for each in pending:
            each.result()

    def look(self) -> None:
        """Follow what the writer did to the files since the last look."""
        files = self._directory.files()
        known = {names.stem(index.name): index for index in self.indexes()}
        for stem, file in files.items():
            index = known.pop(stem, None)
            if index is not None and index.database.path.name == str(file):
                self._follow(index)
            else:
                self._begin(stem, file)
        for index in known.values():
            self.discard(index)
        with self._lock:
            self._refused = {stem: each for stem, each in self._refused.items() if stem in files}

    def retry(self) -> None:
        """Those that could not be restored for a reason that may pass."""
        with self._lock:
            waiting = any(each.until < time.monotonic() for each in self._refused.values())
        if waiting:
            self.look()

    def own(self) -> None:
        """This process is the writer now, with all that the last one wrote."""
        self.writes = True
        for index in self.indexes():
            self._own(index)
        with self._lock:  # what a follower may not touch, the writer can mend or set aside
            self._refused.clear()
        self.look()

    def seal(self) -> None:
        """Nothing is written any more once this returns."""
        for index in self.indexes():
            index.seal()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for index in self.indexes():
            index.close()

    def _follow(self, index: LocalIndex) -> None:
        """Elsewhere if that means embedding: the others and the lock are not to wait for it."""
        if not index.embeds_anew:
            self._refresh(index)
            return
        with self._lock:
            running = self._refreshing.get(index.name)
            if running is None or running.done():
                self._refreshing[index.name] = self._threads.submit(self._refresh, index)

    def _refresh(self, index: LocalIndex) -> None:
        try:
            index.refresh()
        except GoneError:
            pass  # the next look sees what became of it
        except RagError as error:
            self._problems.tell(index.name, f"Index '{index.name}' falls behind: {error.detail}")
        else:
            self._problems.solved(index.name)

    def _own(self, index: LocalIndex) -> None:
        try:
            index.own()
        except RagError as error:  # it can be read; each write tries again
            self._problems.tell(
                index.name, f"Index '{index.name}' cannot be written: {error.detail}"
            )
        else:
            self._problems.solved(index.name)

    def _begin(self, stem: str, file: FileName) -> None:
        with self._lock:
            refused = self._refused.get(stem)
            again = refused is None or refused.file != file or refused.until < time.monotonic()
            if stem in self._pending or not again:
                return
            self._pending[stem] = self._threads.submit(self._restore, stem, file)

    def _restore(self, stem: str, file: FileName) -> None:
        try:
            self._open(stem, file)
        finally:
            with self._lock:
                self._pending.pop(stem, None)

    def _open(self, stem: str, file: FileName) -> None:
        path = self._directory.path(file)
        try:
            started = time.monotonic()
            index = self._opener.open(path, own=self.writes)
        except GoneError:
            return
        except DamagedError as error:
            if self.writes:
                restoring.set_aside(self._directory, path, error, self._problems)
            else:
                self._refuse(stem, file, error, float("inf"))
        except LaterFormatError as error:
            self._refuse(stem, file, error, float("inf"))
        except RagError as error:
            self._refuse(stem, file, error, time.monotonic() + _RETRY_SECONDS)
            if not isinstance(error, StorageError):
                raise
        except Exception as error:
            self._refuse(stem, file, StorageError(f"{path}: {error!r}"), float("inf"))
            raise
        else:
            seconds = time.monotonic() - started
            logger.info(
                "Index %s: %d documents, %d chunks in %.2f s", index.name, *index.count(), seconds
            )
            self._publish(index)

    def _publish(self, index: LocalIndex) -> None:
        with self._lock:
            old = self._indexes.get(index.name)
            self._refused.pop(names.stem(index.name), None)
        if old is not None:
            old.replace(lambda: index)
            index = old
        if self.writes:
            self._own(index)
        self.add(index)

    def _refuse(self, stem: str, file: FileName, error: RagError, until: float) -> None:
        self._problems.tell(str(file), error.detail)
        with self._lock:
            self._refused[stem] = _Refused(file, error.detail, until)
