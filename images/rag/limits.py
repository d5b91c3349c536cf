"""What one client, or all of them together, may ask of the process: bytes, requests, time."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from dataclasses import dataclass

from fastapi import HTTPException
from serving.front import asgi
from serving.front.asgi import App, Message, Receive, Scope, Send
from serving.front.limit import Limit

from rag import answers
from rag.auth import KEYED
from rag.errors import BusyError, RagError, TooLargeError

_MIB = 1 << 20
_WORK = re.compile(r"/(index|retrieve|v1/chat/completions|persist/.*|load/.*|indexes/.*)")
"""What costs more than a look into memory."""
_CLIENTS = 10_000
"""Whose requests are remembered; the one that was silent longest is forgotten."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Zero is no limit, but for the bytes of a body."""

    body_bytes: int = 64 * _MIB
    body_bytes_at_once: int = 512 * _MIB
    """Of all requests in work together: their bodies are held in memory."""
    body_seconds: float = 60.0
    """Between two parts of a body."""
    requests_at_once: int = 256
    requests_per_minute: int = 0
    """Of one API key; where no keys are asked, of one address."""
    top_k: int = 300
    """Passages that one request may ask for."""


class Limited:
    """413, 408 and 429, before anything is parsed."""

    def __init__(self, app: App, settings: LimitSettings) -> None:
        self._app = app
        self._settings = settings
        self._work = Limit()
        self._rates = Rates(settings.requests_per_minute)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        works = bool(_WORK.fullmatch(asgi.path(scope)))
        if refusal := self._refusal(scope, works):
            await answers.refuse(scope, receive, send, refusal)
            return
        body = _Body(self, receive)
        begun = time.monotonic()
        if works:
            self._work.begin()
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._held -= body.seen
            if works:
                self._work.end(time.monotonic() - begun)

    def _refusal(self, scope: Scope, works: bool) -> RagError | None:
        told = _content_length(scope)
        if told > self._settings.body_bytes:
            return self.too_large()
        if not works:
            return None
        if self._held + told > self._settings.body_bytes_at_once:
            return self.too_much()
        most = self._settings.requests_at_once
        if most and self._work.in_work >= most:
            return BusyError(
                f"Too many requests: {most} are in work, which is RAG_MAX_REQUESTS.",
                retry_after=self._work.retry_after(),
            )
        return self._rates.refusal(_client(scope), time.monotonic())

    def hold(self, more: int) -> bool:
        """Whether there is still room for all bodies together."""
        self._held += more
        return self._held <= self._settings.body_bytes_at_once

    @property
    def settings(self) -> LimitSettings:
        return self._settings

    def too_large(self) -> TooLargeError:
        most = self._settings.body_bytes
        return TooLargeError(
            f"The body is larger than {most} bytes, which is RAG_MAX_BODY_BYTES:"
            " send fewer documents at once."
        )

    def too_much(self) -> BusyError:
        return BusyError(
            "Too many requests: their bodies together are larger than"
            f" {self._settings.body_bytes_at_once} bytes, which is RAG_MAX_BODY_BYTES_AT_ONCE.",
            retry_after=self._work.retry_after(),
        )


class _Body:
    """A request's body as it comes in, counted, since who sends it need not say how long it is."""

    def __init__(self, limited: Limited, receive: Receive) -> None:
        self._limited = limited
        self._receive = receive
        self._whole = False
        self.seen = 0

    async def receive(self) -> Message:
        if self._whole:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        seconds = self._limited.settings.body_seconds or None
        try:
            async with asyncio.timeout(seconds):
                message = await self._receive()
        except TimeoutError:
            text = f"Nothing came of the body for {seconds:g} s, which is RAG_BODY_TIMEOUT_SECONDS."
            raise HTTPException(408, text, {"Connection": "close"}) from None
        self._whole = not message.get("more_body")
        more = len(message.get("body", b""))
        self.seen += more
        fits = self._limited.hold(more)
        if self.seen > self._limited.settings.body_bytes:
            raise await self._gone_too_far(self._limited.too_large())
        if not fits:
            raise await self._gone_too_far(self._limited.too_much())
        return message

    async def _gone_too_far(self, error: RagError) -> HTTPException:
        """As the framework lets it through from here; everything else it calls a bad body."""
        if not self._whole:
            await answers.drain(self._receive)
        return HTTPException(error.status, error.detail, answers.headers(error))


class Rates:
    """A bucket a client, which fills as time goes by: short bursts pass, a flood does not."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        """What is left, and when that was."""

    def refusal(self, client: bytes, now: float) -> BusyError | None:
        if not self._per_minute:
            return None
        a_second = self._per_minute / 60
        left, since = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * a_second)
        passes = left >= 1
        self._buckets[client] = (left - 1 if passes else left, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        if passes:
            return None
        return BusyError(
            f"Too many requests: {self._per_minute} a minute, which is RAG_REQUESTS_PER_MINUTE.",
            retry_after=(1 - left) / a_second,
        )


def _content_length(scope: Scope) -> int:
    given = dict(scope["headers"]).get(b"content-length", b"")
    return int(given) if given.isdigit() else 0


def _client(scope: Scope) -> bytes:
    """Who asks: by key where one was checked, else by address; a header that nobody checks would
    be a new client each time."""
    if scope.get(KEYED):
        headers = dict(scope["headers"])
        return b"key " + bytes(headers.get(b"authorization") or headers.get(b"x-api-key") or b"")
    host = (scope.get("client") or ("",))[0]
    return b"address " + str(host).encode()
