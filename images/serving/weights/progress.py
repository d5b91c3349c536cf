"""How far a download has come: a line every few seconds, for `kubectl logs -c weights`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from apis import container

EVERY_SECONDS = 10.0
_GIB = 1 << 30
_MIB = 1 << 20


class Progress:
    """Counts bytes from several threads, and tells of them while the block runs."""

    def __init__(self, total: int, loaded: int, tell: Callable[[str], None]) -> None:
        self.stop = threading.Event()
        """Set when the download has failed: what still runs may end."""
        self._total, self._loaded = total, loaded
        self._began_with, self._began = loaded, time.monotonic()
        self._tell = tell
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, count: int) -> None:
        with self._lock:
            self._loaded += count

    def __enter__(self) -> Self:
        self._tell(self._line())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._tell(self._line())

    def _run(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._tell(self._line())

    def _line(self) -> str:
        rate = (self._loaded - self._began_with) / max(time.monotonic() - self._began, 0.001)
        left = f" seconds_left={(self._total - self._loaded) / rate:.0f}" if rate > 0 else ""
        return (
            f"{container.STAGE_MARKER}=weights loaded_gib={self._loaded / _GIB:.2f}"
            f" total_gib={self._total / _GIB:.2f} mib_per_second={rate / _MIB:.0f}{left}"
        )
