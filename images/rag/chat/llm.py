"""The inference service over HTTP: one client with its connections, and nothing of any request."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from rag import outgoing
from rag.chat.endpoint import Endpoint
from rag.errors import BadRequestError, LlmError

_ERROR_BYTES: Final = 1 << 16
_SHOWN: Final = 500
_DEPTH: Final = 100
_DEEP: Final = f"nested deeper than {_DEPTH}"
_AGAIN: Final = re.compile(r"[0-9]{1,9}|[A-Za-z0-9,: ]{20,40}")
"""Seconds, or a date."""


class RefusedError(Exception):
    """The service has answered 4xx. Its status and its words are for the caller."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers


class Opened:
    """An answer that is being written. Closing it is what tells the service to stop."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """As they come, cut anywhere. Raises LlmError."""
        with _reasons():
            async for piece in self._response.aiter_bytes():
                yield piece

    async def close(self) -> None:
        await self._response.aclose()


class Llm:
    def __init__(
        self, endpoint: Endpoint, *, key: str | None, connect: float = 10.0, read: float = 300.0
    ) -> None:
        self.endpoint = endpoint
        self._key = (key or "").encode()
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(read, connect=connect, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            follow_redirects=False,
            event_hooks=outgoing.hooks(),
        )

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A whole completion. Raises LlmError, RefusedError."""
        found = await self._ask(self._request(body))
        if not isinstance(found, dict) or not isinstance(found.get("choices"), list):
            raise LlmError(f"The inference service sent no completion, but {_excerpt(found)}.")
        return found

    async def open(self, body: Mapping[str, Any]) -> Opened:
        """A completion in pieces, once the service has begun. Raises LlmError, RefusedError."""
        with _reasons():
            response = await self._client.send(self._request(body), stream=True)
        try:
            streams = not response.headers.get("content-type", "").startswith("application/json")
            if not response.is_success or not streams:
                content = await _first(response)
                self._check(response, content)
                raise LlmError(f"The inference service sent no stream, but {_excerpt(content)}.")
        except BaseException:
            await response.aclose()
            raise
        return Opened(response)

    async def get(self, url: str, *, timeout: float) -> Any:
        """JSON. Raises LlmError, RefusedError."""
        return await self._ask(self._client.build_request("GET", url, timeout=timeout))

    async def post(self, url: str, body: Mapping[str, Any], *, timeout: float) -> Any:
        """JSON. Raises LlmError, RefusedError."""
        request = self._client.build_request("POST", url, content=_text(body), timeout=timeout)
        return await self._ask(_as_json(request))

    async def close(self) -> None:
        await self._client.aclose()

    def _check(self, response: httpx.Response, content: bytes) -> None:
        """Some services repeat the key that they do not like."""
        _check(response, content.replace(self._key, b"***") if self._key else content)

    def _request(self, body: Mapping[str, Any]) -> httpx.Request:
        return _as_json(self._client.build_request("POST", self.endpoint.chat, content=_text(body)))

    async def _ask(self, request: httpx.Request) -> Any:
        with _reasons():
            response = await self._client.send(request)
        self._check(response, response.content)
        try:
            return _well_formed(response.content)
        except ValueError:
            shown = _excerpt(response.content)
            raise LlmError(f"The inference service sent no JSON, but {shown}.") from None


def parse(text: str | bytes) -> Any:
    """Raises ValueError, also for what nests deeper than can be walked through."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError(_DEEP) from None
    level = [found]
    for _ in range(_DEPTH):
        level = [each for node in level for each in _within(node)]
        if not level:
            return found
    raise ValueError(_DEEP)


def _within(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _well_formed(content: bytes) -> Any:
    """Halves of surrogate pairs, which JSON can spell and UTF-8 cannot, as question marks."""
    found = parse(content)
    if b"\\ud" not in content.lower():
        return found
    return json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))


def _as_json(request: httpx.Request) -> httpx.Request:
    request.headers["Content-Type"] = "application/json"
    return request


def _text(body: Mapping[str, Any]) -> bytes:
    """In ASCII: what JSON can spell and UTF-8 cannot reaches the service as it came."""
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        raise BadRequestError("Invalid request format: numbers must be finite.") from None


@contextmanager
def _reasons() -> Iterator[None]:
    """httpx's errors as ours."""
    try:
        yield
    except httpx.TimeoutException as error:
        kind = "connected" if isinstance(error, httpx.ConnectTimeout) else "answered"
        raise LlmError(f"The inference service has not {kind} in time.", timed_out=True) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        reason = str(error) or type(error).__name__
        raise LlmError(f"Error during POST request: {reason}") from error


async def _first(response: httpx.Response) -> bytes:
    """As much of an error's body as is worth reading."""
    content = bytearray()
    with _reasons():
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) >= _ERROR_BYTES:
                break
    return bytes(content)


def _check(response: httpx.Response, content: bytes) -> None:
    """RefusedError for 4xx; LlmError for all else that is no success, a redirect too."""
    status = response.status_code
    if response.is_success:
        return
    retry = _again(response)
    if response.is_client_error:
        headers = {"Retry-After": retry} if retry else {}
        raise RefusedError(status, _parsed(content), headers)
    error = LlmError(
        f"The inference service answered {status}: {_excerpt(_said(_parsed(content)))}",
        timed_out=status == httpx.codes.GATEWAY_TIMEOUT,
    )
    if retry.isdecimal():
        error.retry_after = float(retry)
    raise error


def _again(response: httpx.Response) -> str:
    """Retry-After, where it is one: what else stands there could not be handed on."""
    found = response.headers.get("retry-after", "")
    return found if _AGAIN.fullmatch(found) else ""


def _parsed(content: bytes) -> Any:
    try:
        return parse(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _said(body: Any) -> Any:
    """The sentence in an error, as OpenAI's servers, FastAPI and others wrap it."""
    while isinstance(body, dict):
        inner = next((body[key] for key in ("error", "message", "detail") if key in body), None)
        if inner is None:
            return body
        body = inner
    return body


def _excerpt(found: Any) -> str:
    if isinstance(found, bytes):
        found = found.decode("utf-8", "replace")
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    text = " ".join(text.split())
    return f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text or "nothing"
