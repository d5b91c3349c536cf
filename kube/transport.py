"""HTTP to the API server, with the only retries there are.

What is retried: connection errors and 429, 500, 502, 503, 504, with jittered exponential delays or
the server's Retry-After, while `patience` lasts. What is not: any other refusal, a certificate that
does not verify, and, after a lost connection, a request that must not happen twice.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohttp
import msgspec

from kube import tracing
from kube.clock import Clock
from kube.config import Endpoint
from kube.errors import KubeError, from_status
from kube.metrics import REQUESTS

NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, ConnectionError)
"""What a request raises when no whole answer came; aiohttp's own classes and the system's."""

_RETRIED = frozenset({429, 500, 502, 503, 504})
_FIRST_DELAY = 0.25
_LONGEST_DELAY = 8.0
_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
# The API server itself gives a request 60 s, webhooks and all.
_ANSWER_SECONDS = 65.0


class Transport:
    """Requests to one endpoint. `patience`: seconds within which a retry may still start."""

    def __init__(
        self, endpoint: Endpoint, *, user_agent: str, clock: Clock, patience: float
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._patience = patience
        self._host = urlsplit(endpoint.server).netloc
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def close(self) -> None:
        """Ends what is still open, also connections that requests which were cancelled left in the
        midst of TLS's goodbye: nobody would hear its end once the event loop has closed."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        for each in self._open_sockets():
            with suppress(OSError):  # the peer was quicker
                each.shutdown(socket.SHUT_RDWR)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._open_sockets():  # noqa: ASYNC110 - sockets tell nobody
                    await asyncio.sleep(0.005)

    def _open_sockets(self) -> list[socket.socket]:
        return [each for each in self._sockets if each.fileno() >= 0]

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        repeatable: bool = True,
        retry_refused: bool = True,
    ) -> bytes:
        """The answer's body; KubeError where the server refuses, NETWORK_ERRORS where it is mute.

        `repeatable` False: not sent again once the server may have got it.
        `retry_refused` False: a 429 or 5xx is an answer to the caller and not a sign of load.
        """
        changes = method != "GET"
        with tracing.call(f"{method} {_kind_of(path)}", {"url.path": path}, matters=changes):
            return await self._until_answered(
                method, path, params, body, content_type, repeatable, retry_refused
            )

    async def _until_answered(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        repeatable: bool,
        retry_refused: bool,
    ) -> bytes:
        give_up_at = self._clock.monotonic() + self._patience
        attempt = 0
        while True:
            try:
                async with self.stream(
                    method, path, params=params, body=body, content_type=content_type
                ) as response:
                    return await response.read()
            except KubeError as error:
                if error.status not in _RETRIED or not retry_refused:
                    raise
                delay = error.retry_after
                if self._clock.monotonic() + (delay or 0.0) >= give_up_at:
                    raise
            except aiohttp.ClientSSLError:
                raise
            except NETWORK_ERRORS as error:
                unsent = isinstance(error, aiohttp.ClientConnectorError)
                if not (repeatable or unsent) or self._clock.monotonic() >= give_up_at:
                    raise
                delay = None
            await self._clock.sleep(backoff(attempt, _FIRST_DELAY, _LONGEST_DELAY, least=delay))
            attempt += 1

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        silence: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One attempt, its body still to be read. With `silence`, seconds without a byte are an
        end (TimeoutError) and the whole may last; without, the usual limit for an answer holds.
        `headers` are for whom the API server passes the request on to.

        A 401 is tried once more with credentials read anew.
        """
        response = await self._send(method, path, params, body, content_type, silence, headers)
        if response.status == 401:
            response.release()
            self._endpoint.credentials.refused()
            response = await self._send(method, path, params, body, content_type, silence, headers)
        try:
            if response.status >= 400:
                raise await _refusal(response)
            yield response
        finally:
            if silence is not None:
                _hang_up(response)
            else:
                response.release()  # an answer that was read is already back in the pool

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        silence: float | None,
        further: Mapping[str, str] | None,
    ) -> aiohttp.ClientResponse:
        headers = dict(further or {})
        if authorization := await self._endpoint.credentials.authorization():
            headers["Authorization"] = authorization
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response = await self._opened().request(
                method,
                self._endpoint.server + path,
                params=params,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(
                    total=None if silence is not None else _ANSWER_SECONDS,
                    sock_connect=_CONNECT_SECONDS,
                    sock_read=silence,
                ),
                proxy=self._endpoint.proxy or None,
                server_hostname=self._endpoint.server_hostname or None,
                allow_redirects=False,
            )
        except NETWORK_ERRORS:
            REQUESTS.labels("<error>", method, self._host).inc()
            raise
        REQUESTS.labels(str(response.status), method, self._host).inc()
        self._hear(response.headers.get("Date", ""))
        return response

    def _hear(self, date: str) -> None:
        with suppress(ValueError):  # none, or a proxy's idea of one
            self._clock.heard(parsedate_to_datetime(date).astimezone(UTC))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._endpoint.ssl if self._endpoint.ssl is not None else True,
                    limit=0,
                    socket_factory=self._socket,
                ),
                # Uncompressed on purpose: in a cluster the CPU of both ends is dearer than bytes.
                headers={
                    "User-Agent": self._user_agent,
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                auto_decompress=True,
            )
        return self._session

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        opened = _kept_alive_socket(address)
        self._sockets.add(opened)
        return opened


def _kind_of(path: str) -> str:
    """`nodeclaims/status` of /apis/karpenter.sh/v1/nodeclaims/a/status: spans are grouped by their
    names, which must not be as many as the objects."""
    parts = path.split("/")[2:]  # of '/api/v1/…' or '/apis/group/v1/…'
    parts = parts[2:] if path.startswith("/apis/") else parts[1:]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    return "/".join([*parts[:1], *parts[2:3]])


def backoff(attempt: int, first: float, longest: float, *, least: float | None = None) -> float:
    """Seconds before try `attempt` + 1: doubling from `first`, the half of it left to chance.

    `least` is what the server asked for; a little is added so that its clients come apart.
    """
    spread: float = random.random()  # noqa: S311 - only to come apart
    if least is not None:
        return least + spread * min(1.0, least)
    return float(min(longest, first * 2 ** min(attempt, 30)) * (0.5 + spread / 2))


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """End an endless stream: releasing it would read the rest, and closing alone waits up to 30 s
    for the server's goodbye in TLS, during which the socket belongs to nobody."""
    transport = response.connection.transport if response.connection is not None else None
    response.close()
    if transport is not None:
        transport.abort()


async def _refusal(response: aiohttp.ClientResponse) -> KubeError:
    """The Status in the body, or what can be said without one (proxies answer in HTML)."""
    body = await response.read()
    status: dict[str, Any] = {"message": body[:512].decode(errors="replace")}
    with suppress(msgspec.DecodeError):
        decoded = msgspec.json.decode(body)
        if isinstance(decoded, dict) and decoded.get("kind") == "Status":
            status = decoded
    error = from_status(status, code=response.status)
    if error.retry_after is None and (header := response.headers.get("Retry-After", "")).isdigit():
        error.details = {**error.details, "retryAfterSeconds": int(header)}
    return error


def _kept_alive_socket(address: tuple[Any, ...]) -> socket.socket:
    """A peer that vanished without a word is found out within a minute, also on a quiet watch."""
    family, kind, protocol = address[:3]
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):  # Linux's names; elsewhere the system's defaults hold
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return opened
