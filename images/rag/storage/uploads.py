"""When snapshots go to the object store: after a quiet while, now and then, and at the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from rag.errors import RagError
from rag.storage.database import Database
from rag.storage.remote import Remote
from rag.storage.restoring import Problems
from rag.storage.settings import StorageSettings

logger = logging.getLogger(__name__)

_PROBLEM = "object store"
_OVERTAKEN = "object store: another writer"
Observe = Callable[[bool, float], None]
"""Told of each upload: whether it came through, and in how many seconds."""


class Uploads:
    """A thread of the writer's. What fails is told and tried again; no write waits for it."""

    def __init__(
        self,
        remote: Remote,
        settings: StorageSettings,
        databases: Callable[[], Iterable[Database]],
        problems: Problems,
        observe: Observe,
    ) -> None:
        self._remote = remote
        self._settings = settings
        self._databases = databases
        self._problems = problems
        self._observe = observe
        self._changed = threading.Condition()
        self._first = self._last = 0.0
        """When the oldest and the newest write happened that is not uploaded; 0: none."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)

    @property
    def started(self) -> bool:
        return self._thread.ident is not None

    def start(self) -> None:
        """What an earlier process may have left is looked at first."""
        self.touch()
        self._thread.start()

    def touch(self) -> None:
        """Something was written."""
        with self._changed:
            self._last = time.monotonic()
            if not self._first:
                self._first = self._last
                self._changed.notify()

    def stop(self) -> None:
        """After a last upload of what is not there yet."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            stopping = self._wait()
            with self._changed:
                pending, self._first = self._first, 0.0
            if pending and not self._upload():
                with self._changed:
                    self._first = self._first or time.monotonic()
            if stopping:
                return

    def _wait(self) -> bool:
        """Until it is time; whether it is the last time."""
        with self._changed:
            while not self._stopping:
                rest = self._rest()
                if rest is not None and rest <= 0:
                    break
                self._changed.wait(rest)
            return self._stopping

    def _rest(self) -> float | None:
        if not self._first:
            return None
        quiet = self._last + self._settings.upload_quiet
        return min(quiet, self._first + self._settings.upload_every) - time.monotonic()

    def _upload(self) -> bool:
        started = time.monotonic()
        try:
            if other := self._remote.overtaken():
                self._problems.tell(
                    _OVERTAKEN,
                    f"Another process uploaded {other} to the same place: give each RAGEngine a "
                    "prefix of its own, and one replica",
                )
            uploaded = self._remote.upload(self._databases())
        except RagError as error:
            self._problems.tell(_PROBLEM, f"Snapshots are not uploaded: {error.detail}")
            self._observe(False, time.monotonic() - started)
            with self._changed:  # not again at once, though all is quiet
                self._last = time.monotonic()
            return False
        seconds = time.monotonic() - started
        self._problems.solved(_PROBLEM)
        self._observe(True, seconds)
        if uploaded is not None:
            logger.info("Uploaded snapshot %s in %.1f s", uploaded.key, seconds)
        return True
