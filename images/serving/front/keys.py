"""Who may ask: the keys in a mounted Secret. They are compared and never written anywhere."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from serving.front.asgi import Scope

OPEN = frozenset({"/health", "/metrics", "/ping"})
"""Probes and Prometheus bring no key."""
OWN_TOKEN = "/kaito/adapters"  # noqa: S105  # a path
"""Asks for a token of its own."""


class Keys:
    """One key a file; any of them opens, so that an old and a new one hold side by side.

    Without the directory nobody is asked for a key; with an empty one nobody has a valid one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: tuple[int, tuple[bytes, ...]] | None = None

    @property
    def asked(self) -> bool:
        return self._digests() is not None

    def admit(self, scope: Scope, path: str) -> bool:
        """Whether the request may pass, in the same time whichever key is wrong."""
        if scope.get("method") == "OPTIONS":  # browsers ask without, before they ask with
            return True
        if path in OPEN or path == OWN_TOKEN or path.startswith(f"{OWN_TOKEN}/"):
            return True
        known = self._digests()
        if known is None:
            return True
        given = hashlib.sha256(_given(scope)).digest()
        found = False
        for each in known:
            found |= hmac.compare_digest(given, each)
        return found

    def _digests(self) -> tuple[bytes, ...] | None:
        """Anew once the kubelet has put other files there, which it does by a new directory."""
        try:
            changed = self._directory.stat().st_mtime_ns
        except FileNotFoundError:
            # Was there, is not: closed, or who can move a directory could open the server.
            return None if self._read is None else self._read[1]
        if self._read is None or self._read[0] != changed:
            self._read = (
                changed,
                tuple(hashlib.sha256(key).digest() for key in sorted(_keys(self._directory))),
            )
        return self._read[1]


def _keys(directory: Path) -> set[bytes]:
    """The kubelet's own links and directories begin with a dot."""
    files = [each for each in directory.iterdir() if not each.name.startswith(".")]
    return {key for each in files if each.is_file() and (key := each.read_bytes().strip())}


def texts(directory: Path) -> list[str]:
    """For an engine that compares them itself; none where there is no directory."""
    return sorted(key.decode() for key in _keys(directory)) if directory.is_dir() else []


def _given(scope: Scope) -> bytes:
    """As OpenAI's clients bring it, else as Anthropic's do."""
    headers = dict(scope["headers"])
    scheme, _, key = bytes(headers.get(b"authorization", b"")).strip().partition(b" ")
    if scheme.lower() == b"bearer" and key.strip():
        return bytes(key).strip()
    return bytes(headers.get(b"x-api-key", b"")).strip()
