"""The policy's file, looked at again and again: cheap while nothing changes, and no dependency.

A ConfigMap's file is a link to a link, `..data`, which the kubelet turns to another directory; what
is looked at is what the links lead to, so any way to replace the file is seen.
"""

from __future__ import annotations

from pathlib import Path

from rag.guardrails import policy
from rag.guardrails.errors import MissingPolicyError, PolicyError
from rag.guardrails.policy import Built, Policy

_Stamp = tuple[int, ...]
_MISSING: _Stamp = ()


class PolicyFile:
    """Blocking; for one caller at a time."""

    def __init__(self, path: Path, built: Built) -> None:
        self._path = path
        self._built = built
        self._seen: _Stamp | None = None

    def look(self) -> Policy | None:
        """None where nothing changed since the look before, good or bad. Raises PolicyError."""
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        # Before it is read: what is written meanwhile has another stamp at the next look.
        self._seen = stamp
        if stamp == _MISSING:
            raise MissingPolicyError(f"{self._path} is not there")
        return policy.read(self._read(), self._built)

    def _stamp(self) -> _Stamp:
        try:
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return _MISSING
        except OSError as error:
            return (-1, error.errno or 0)
        return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise PolicyError(f"{self._path} cannot be read: {error.strerror}") from error
