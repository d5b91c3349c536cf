"""JSON of a service that computes for us: asked again while it is busy or out of reach, and not
where it was too slow: somebody has waited long enough, and it has enough to do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from rag import outgoing
from rag.errors import EmbedderError, RefusedError

_BACKOFF_SECONDS = 0.5
_LONGEST_WAIT = 30.0
_AGAIN = frozenset({429, 500, 502, 503, 504})
_REFUSED = frozenset({400, 413, 422})
"""Of what was sent, where the service is well."""
_INLINE_BYTES = 64 << 10
"""A longer answer is read in a thread, piece by piece: JSON, then what `read` does with it."""
_SHOWN = 200

Sleep = Callable[[float], Awaitable[None]]
Read = Callable[[Any], Any]
"""What is wanted of an answer; raises EmbedderError where it is not in it."""


def _as_it_is(said: Any) -> Any:
    return said


class Asker:
    """One client with its connections. Every error is an EmbedderError that names the service by
    `what`, and never the key."""

    def __init__(
        self, what: str, *, key: str | None, timeout: float, retries: int, sleep: Sleep
    ) -> None:
        """`timeout`: seconds from the request to the last byte of its answer."""
        self._what = what
        self._key = key or ""
        self._timeout = timeout
        self._retries = retries
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=None,  # noqa: S113 - there is one for the whole
            follow_redirects=False,
            event_hooks=outgoing.hooks(),
        )

    async def ask(self, method: str, url: str, body: Any = None, read: Read = _as_it_is) -> Any:
        """What `read` makes of the answer. Raises EmbedderError; RefusedError for the body."""
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            asked = ""
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._client.request(method, url, json=body)
            except TimeoutError:
                text = f"{self._where(url)} did not answer within {self._timeout:g} s."
                raise EmbedderError(text, timed_out=True) from None
            except httpx.RequestError as error:
                if last:
                    kind = type(error).__name__
                    raise EmbedderError(f"{self._where(url)} cannot be reached: {kind}.") from None
            else:
                if last or answer.status_code not in _AGAIN:
                    if len(answer.content) <= _INLINE_BYTES:
                        return self._read(answer, url, read)
                    return await asyncio.to_thread(self._read, answer, url, read)
                asked = answer.headers.get("Retry-After", "")
            await self._sleep(_pause(attempt, asked))
        raise AssertionError("the last attempt answers or raises")

    async def close(self) -> None:
        await self._client.aclose()

    def _read(self, answer: httpx.Response, url: str, read: Read) -> Any:
        if answer.status_code != 200:
            # Some services repeat the key that they do not like.
            words = answer.text.replace(self._key, "***") if self._key else answer.text
            shown = " ".join(words.split())[:_SHOWN]
            kind = RefusedError if answer.status_code in _REFUSED else EmbedderError
            raise kind(f"{self._where(url)} answered {answer.status_code}: {shown}")
        try:
            said = answer.json()
        except ValueError:
            raise EmbedderError(f"{self._where(url)} answered what is no JSON.") from None
        return read(said)

    def _where(self, url: str) -> str:
        """Without what may be secret: user, password and query."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return f"The {self._what} service {parts.scheme}://{host}{parts.path}"


def _pause(attempt: int, retry_after: str) -> float:
    """Seconds: what the service asks for, else twice as long each time, and not all at once."""
    if retry_after.isdecimal():
        return min(float(retry_after), _LONGEST_WAIT)
    return min(_BACKOFF_SECONDS * 2.0**attempt, _LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311
