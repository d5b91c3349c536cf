"""The store: one process writes all indexes of a directory, any number of others follow it."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rag.documents import Chunk, Document, IndexSpec, Vectors
from rag.errors import (
    BadRequestError,
    IndexExistsError,
    NotWritableError,
    UnknownIndexError,
)
from rag.memory.analysis import Analyzer
from rag.storage import durable, filesystem, loading, names, snapshots
from rag.storage.catalog import Catalog
from rag.storage.database import Database
from rag.storage.directory import LOCK, Directory, timestamp
from rag.storage.failures import translated
from rag.storage.filesystem import Mount
from rag.storage.index import LocalIndex
from rag.storage.lock import DirectoryLock
from rag.storage.present import Present, same_model, text_alone
from rag.storage.remote import Remote
from rag.storage.restoring import Opener, Problems
from rag.storage.settings import StorageSettings
from rag.storage.uploads import Observe, Uploads

logger = logging.getLogger(__name__)

_MOUNTS = Path("/proc/self/mountinfo")
_RETRY_AFTER = 5.0
"""Seconds, as told to whoever could not write."""


def _unobserved(succeeded: bool, seconds: float) -> None: ...


class LocalStore:
    """`protocols.Store`, by `open`."""

    def __init__(self, settings: StorageSettings, present: Present, observe: Observe) -> None:
        self._settings = settings
        self._present = present
        self._problems = Problems()
        self._directory = _directory(settings)
        opener = Opener(self._directory, present, self, settings.sync)
        self._opener = opener
        self._catalog = Catalog(self._directory, opener, self._problems)
        self._lock = DirectoryLock(self._directory.root / LOCK)
        self._changing = threading.Lock()
        """Held while an index comes, goes or is replaced."""
        self._writable = threading.Event()
        self._closed = threading.Event()
        self._remote = self._uploads = None
        if settings.object_store_url:
            self._remote = Remote(
                settings.object_store_url,
                settings.object_store_options,
                scratch=self._directory.root,
                writer=secrets.token_hex(4),
                keep=settings.keep,
            )
            self._uploads = Uploads(
                self._remote, settings, self._databases, self._problems, observe
            )
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)

    @classmethod
    def open(
        cls,
        settings: StorageSettings,
        spec: IndexSpec,
        reembed: Callable[[Sequence[str]], Vectors],
        *,
        analyzer: Analyzer | None = None,
        embedded_text: Callable[[Document, Chunk], str] = text_alone,
        observe_upload: Observe = _unobserved,
    ) -> LocalStore:
        """With all indexes in memory, as the writer or as a follower. Blocking, and long where an
        index has to be embedded anew. Raises StorageError, EmbedderError."""
        present = Present(spec, analyzer or Analyzer(), reembed, embedded_text)
        store = cls(settings, present, observe_upload)
        try:
            store._start()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def problems(self) -> tuple[str, ...]:
        """What people have to know: files set aside, uploads that fail."""
        return self._problems.all()

    @property
    def writable(self) -> bool:
        return self._writable.is_set()

    def wait_writable(self, seconds: float) -> bool:
        return self._writable.wait(seconds)

    @property
    def elsewhere(self) -> bool:
        return False

    def names(self) -> list[str]:
        return self._catalog.names()

    def get(self, name: str) -> LocalIndex:
        return self._catalog.get(name)

    def create(self, name: str, spec: IndexSpec) -> LocalIndex:
        names.validate(name)
        with contextlib.suppress(UnknownIndexError):
            return self.get(name)
        if not same_model(spec, self._present.spec):
            raise BadRequestError(f"Index '{name}': {spec.model} is not the service's embedder")
        self.enter()
        with self._changing:
            with contextlib.suppress(UnknownIndexError):
                return self.get(name)
            self._expect_open()
            with translated(f"Index '{name}' cannot be created"):
                path = self._directory.make(name, self._present.spec, self._words)
                index = self._opener.open(path, own=True)
            index.own()
            self._catalog.add(index)
        self.written()
        return index

    def drop(self, name: str) -> None:
        """Its files go; its snapshots stay until somebody removes them."""
        self.get(name)
        self.enter()
        with self._changing:
            self._expect_open()
            index = self.get(name)
            self._catalog.discard(index)
            with translated(f"Index '{name}' cannot be dropped"):
                self._directory.remove(index.database.path)
        self.written()

    def persist(self, name: str, path: str | None) -> Path:
        index = self.get(name)
        if path is not None:
            target = self._directory.below(path)
            index.with_file(partial(snapshots.write, target=target))
            return target
        folder = self._directory.snapshots / names.stem(name)
        target = folder / timestamp()
        index.with_file(partial(snapshots.write, target=target))
        snapshots.prune(folder, self._settings.keep)
        return target

    def load(self, name: str, path: str | None, *, overwrite: bool) -> Path:
        names.validate(name, "path", "index_name")
        source = loading.source_of(self._directory, names.stem(name), name, path)
        self._expect_replaceable(name, overwrite)
        self.enter()
        with self._changing:
            self._expect_open()
            self._expect_replaceable(name, overwrite)
            with loading.prepared(self._opener, name, source) as index:
                self._put_in_place(name, index)
        self.written()
        return source

    def close(self) -> None:
        """The lock goes last: a follower that gets it finds everything written."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._changing:
            self._writable.clear()
        self._catalog.seal()
        if self._uploads is not None and self._uploads.started:
            self._uploads.stop()
        self._catalog.close()
        self._lock.release()

    # What the indexes ask (`index.Gate`).

    def enter(self) -> None:
        seconds = 0 if self._closed.is_set() else self._settings.write_wait
        if self.wait_writable(seconds):
            return
        holder = self._lock.holder()
        raise NotWritableError(
            f"Another process writes this store: {holder or 'unknown'}", retry_after=_RETRY_AFTER
        )

    def written(self) -> None:
        if self._uploads is not None:
            self._uploads.touch()

    @property
    def _words(self) -> str:
        return self._present.analyzer.signature

    def _databases(self) -> list[Database]:
        return [index.database for index in self._catalog.indexes()]

    def _expect_open(self) -> None:
        if not self._writable.is_set():
            raise NotWritableError("The store is closed", retry_after=_RETRY_AFTER)

    def _expect_replaceable(self, name: str, overwrite: bool) -> None:
        if not overwrite and name in self._catalog.names():
            raise IndexExistsError(
                f"Index {name} already exists. Use overwrite=true to replace it."
            )

    def _put_in_place(self, name: str, index: LocalIndex) -> None:
        """In one step on disk, and then in memory; the old file is of no use after that."""
        stem = names.stem(name)

        def moved() -> LocalIndex:
            return index.move(
                lambda: self._opener.database(self._directory.adopt(stem, index.database.path))
            )

        try:
            current = self.get(name)
        except UnknownIndexError:
            current = moved()
            self._catalog.add(current)
        else:
            old = current.database.path
            current.replace(moved)
            self._directory.remove(old)
        current.own()

    def _start(self) -> None:
        with translated(f"{self._directory.root} cannot be used"):
            while not self._lock.acquire():
                if not self._directory.is_new:
                    break
                # The writer is still fetching what there is; with nothing to show nobody is ready.
                self._closed.wait(self._settings.poll)
            if self._lock.held:
                self._begin_to_write()
            else:
                logger.info(
                    "%s is written by %s: following", self._directory.root, self._lock.holder()
                )
                self._catalog.restore_all()
        self._thread.start()

    def _begin_to_write(self) -> None:
        if self._remote is not None and self._directory.is_new:
            self._remote.restore(self._directory.indexes)
        self._directory.prepare()
        self._catalog.writes = True
        self._catalog.restore_all()
        self._open_gate()

    def _open_gate(self) -> None:
        self._writable.set()
        if self._uploads is not None:
            self._uploads.start()

    def _run(self) -> None:
        while not self._closed.wait(self._settings.poll):
            try:
                if self._writable.is_set():
                    with self._changing:
                        self._catalog.retry()
                elif self._lock.acquire():
                    self._take_over()
                else:
                    self._catalog.look()
            except Exception as error:  # noqa: BLE001  # told, and tried again: nobody else would
                self._problems.tell("storage", f"{self._directory.root}: {error!r}")
            else:
                self._problems.solved("storage")

    def _take_over(self) -> None:
        started = time.monotonic()
        self._catalog.look()
        self._directory.prepare()
        self._catalog.own()
        self._open_gate()
        logger.info("Writer after %.2f s", time.monotonic() - started)


def _directory(settings: StorageSettings) -> Directory:
    with translated(f"{settings.directory} cannot be used"):
        durable.make_folder(settings.directory)
        root = settings.directory.resolve()
        mount = filesystem.mount_of(root, _MOUNTS.read_text().splitlines())
    if settings.filesystem:
        mount = Mount(mount.point, settings.filesystem, frozenset())
    return Directory(root, filesystem.journal_of(mount))
