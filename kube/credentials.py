"""Who we are to the API server: a fixed header, a token in a file, or what a program gives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kube.clock import Clock

_REREAD_SECONDS = 60.0


class Credentials(Protocol):
    """Who we are, as an Authorization header."""

    async def authorization(self) -> str:
        """The header's value; empty where a client certificate, or nothing, speaks for us."""

    def refused(self) -> None:
        """The server answered 401: whatever was cached is stale."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A header that never changes; empty for none."""

    value: str = field(default="", repr=False)

    async def authorization(self) -> str:
        return self.value

    def refused(self) -> None:
        pass


@dataclass(slots=True)
class TokenFile:
    """A projected token: kubelet rotates the file, so it is read again every minute or on a 401."""

    path: Path
    clock: Clock = field(default_factory=Clock)
    _value: str = field(default="", repr=False)
    _read_at: float | None = None

    async def authorization(self) -> str:
        now = self.clock.monotonic()
        if self._read_at is None or now - self._read_at >= _REREAD_SECONDS:
            self._value = f"Bearer {self.path.read_text().strip()}"
            self._read_at = now
        return self._value

    def refused(self) -> None:
        self._read_at = None


class Program:
    """A token from an exec plugin or an OIDC provider, through the `kubernetes` package.

    Its loader knows when the token expires; a refused one is fetched anew. Both start programs or
    ask the network, so they run in a thread, one at a time.
    """

    def __init__(self, load: Callable[[], Any], first: Any) -> None:
        self._load = load
        self._loaded = first
        self._lock = asyncio.Lock()

    async def authorization(self) -> str:
        async with self._lock:
            return await asyncio.to_thread(self._fresh)

    def refused(self) -> None:
        self._loaded = None

    def _fresh(self) -> str:
        if self._loaded is None:
            self._loaded = self._load()
        elif self._loaded.refresh_api_key_hook is not None:
            self._loaded.refresh_api_key_hook(self._loaded)
        return str(self._loaded.api_key.get("BearerToken", ""))
