"""One process writes: whoever holds the lock on a file of the directory.

The kernel lets go of it when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

from rag.errors import StorageError


class DirectoryLock:
    """By flock. Asked for again and again rather than waited for: so a follower can be closed, and
    on NFS, where waiting is a sleep of up to 30 s, a free lock is found sooner."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        return self._handle is not None

    def acquire(self) -> bool:
        """Whether it is ours now; returns at once."""
        if self._handle is not None:
            return True
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError as error:
            os.close(handle)
            raise StorageError(_cannot_lock(self._path, error)) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"{socket.gethostname()} {os.getpid()}\n".encode())
        self._handle = handle
        return True

    def holder(self) -> str:
        """Host and process, for people; empty where none can be read."""
        try:
            return self._path.read_text().strip()
        except OSError:
            return ""

    def release(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)


def _cannot_lock(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
        return f"{path} is on a file system without locks ({error.strerror}): take another volume"
    return f"{path} cannot be locked: {error.strerror}"
