"""Ask Hugging Face for what `presets.huggingface` reads: the only I/O of this package."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from presets import gguf, huggingface, outgoing, reference
from presets.files import File, UnsupportedModelError
from presets.model import Model
from presets.reference import Reference

ENDPOINT = "https://huggingface.co"
ATTEMPTS = 4
"""Tries of a request that failed for reasons that may pass."""
BACKOFF_SECONDS = 0.5
"""Before the second try; twice as long before each further one."""
TIMEOUT = aiohttp.ClientTimeout(total=30)
LONGEST_ANSWER = 32 << 20
"""Bytes; the file list of a large repository has one."""

_CONFIGS = ("config.json", "params.json")
"""Mistral's repositories may have only the second."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GATED = "GatedRepo"
"""X-Error-Code of a repository whose licence must be accepted first."""


class RepositoryError(Exception):
    """Hugging Face does not give what was asked for; the message tells the user what to do."""


class UnknownRepositoryError(RepositoryError):
    """There is no such repository or revision."""


class UnavailableError(RepositoryError):
    """Hugging Face fails, and may not do so later."""


class AccessDeniedError(RepositoryError):
    """The repository is gated or private, and the token, if there was one, does not open it.

    `gated`: it is there for everybody who accepts its licence. Of a private one not even that it
    exists is told.
    """

    def __init__(self, message: str, *, gated: bool) -> None:
        super().__init__(message)
        self.gated = gated


class _File(msgspec.Struct):
    rfilename: str
    size: int | None = None


class _Repository(msgspec.Struct):
    sha: str
    id: str = ""
    siblings: list[_File] = []
    gated: bool | str = False
    private: bool = False


async def model(
    session: aiohttp.ClientSession,
    name: str,
    *,
    token: str = "",
    revision: str = "",
    endpoint: str = ENDPOINT,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Model:
    """The model of a repository (`owner/model[:QUANT][@REVISION]`), pinned to the commit that
    its revision is now; `revision` overrules the name's.

    RepositoryError where Hugging Face refuses, UnsupportedModelError where no engine serves what
    is there, aiohttp.ClientError or TimeoutError where it stays silent.
    """
    wanted = reference.parse(name)
    if wanted is None:
        raise UnknownRepositoryError(f"{name!r} is no model of Hugging Face: name it owner/model")
    if revision:
        wanted = Reference(wanted.repository, wanted.quant, revision)
    source = _Source(session, endpoint, token, sleep)
    repository = await source.repository(wanted)
    hf_id = repository.id or wanted.repository
    files = [File(each.rfilename, each.size or 0) for each in repository.siblings]
    config = await source.config(hf_id, repository.sha, files, wanted.quant)
    try:
        found = huggingface.model(
            hf_id,
            config,
            files,
            revision=repository.sha,
            quant=wanted.quant,
            gated=bool(repository.gated) or repository.private,
        )
    except UnsupportedModelError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        # Whatever a stranger wrote into it, it is theirs to mend.
        raise UnsupportedModelError(f"the config.json of {hf_id} is odd: {error}") from error
    asked = name.strip().casefold()
    known = {found.name, hf_id.casefold()}
    return found if asked in known else msgspec.structs.replace(found, aliases=(asked,))


def proxy(url: str) -> str | None:
    """Of the environment (HTTPS_PROXY, NO_PROXY), as the engines have it. aiohttp's own way reads
    ~/.netrc too, and refuses to send a token where that has an entry."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


class Hub:
    """Hugging Face, or a mirror of it, with one session for all that is asked."""

    def __init__(
        self, endpoint: str = "", *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self.endpoint = (endpoint or ENDPOINT).rstrip("/")
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def model(self, name: str, *, token: str = "", revision: str = "") -> Model:
        """As `model` above."""
        return await model(
            self._connected(),
            name,
            token=token,
            revision=revision,
            endpoint=self.endpoint,
            sleep=self._sleep,
        )

    async def commit(self, repository: str, *, token: str = "") -> str:
        """Where the main branch of owner/model is now, by one request; errors as of `model`."""
        source = _Source(self._connected(), self.endpoint, token, self._sleep)
        found = await source.repository(Reference(repository), sizes=False)
        if not _COMMIT.fullmatch(found.sha):
            raise UnavailableError(f"{self.endpoint} names no commit of {repository}")
        return found.sha

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = outgoing.session(self.endpoint, proxy(self.endpoint))
        return self._session


class _Source:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: str,
        token: str,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._sleep = sleep

    async def repository(self, wanted: Reference, *, sizes: bool = True) -> _Repository:
        path = f"api/models/{wanted.repository}/revision/{wanted.revision.replace('/', '%2F')}"
        text = await self._get(f"{path}?blobs=true" if sizes else path)
        if text is None:
            raise UnknownRepositoryError(
                f"Hugging Face has no model {wanted.repository!r} at revision {wanted.revision!r}"
            )
        try:
            return msgspec.json.decode(text, type=_Repository)
        except msgspec.DecodeError as error:
            raise UnavailableError(
                f"the file list of {wanted.repository} is not readable: {error}"
            ) from error

    async def config(
        self, hf_id: str, sha: str, files: list[File], quant: str
    ) -> Mapping[str, Any]:
        """config.json, or what stands for it: a GGUF file tells its numbers itself."""
        found: dict[str, Any] | None = None
        for name in _CONFIGS:
            text = await self._get(f"{hf_id}/resolve/{sha}/{name}")
            if text is not None:
                found = huggingface.parse_config(text.decode(errors="replace"))
                break
        if found is not None and gguf.tells_layers(found):
            return found
        if huggingface.is_gguf(files, quant):
            choice = huggingface.gguf_file(hf_id, files, quant)
            head = await self._get(f"{hf_id}/resolve/{sha}/{choice.path}", gguf.HEAD_BYTES)
            return {**gguf.config(head or b""), **(found or {})}
        if found is None:
            raise UnsupportedModelError(f"{hf_id} has neither {' nor '.join(_CONFIGS)}")
        return found

    async def _get(self, path: str, first: int = 0) -> bytes | None:
        """The body (its `first` bytes alone), or None where there is no such file; tries again
        what may pass."""
        url = f"{self._endpoint}/{path}"
        headers = {**self._headers, "Range": f"bytes=0-{first - 1}"} if first else self._headers
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                async with self._session.get(url, headers=headers, timeout=TIMEOUT) as response:
                    if last or not _passing(response.status):
                        return await self._body(response, url, first)
            except (aiohttp.ClientConnectionError, TimeoutError):
                if last:
                    raise
            await self._sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
        return None

    async def _body(self, response: aiohttp.ClientResponse, url: str, first: int) -> bytes | None:
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            remedy = (
                "the token given does not open it"
                if self._headers
                else "give a token in modelAccessSecret"
            )
            raise AccessDeniedError(
                f"{url} is gated, private or does not exist: {remedy}",
                gated=response.headers.get("X-Error-Code") == _GATED,
            )
        if not response.ok:
            raise UnavailableError(f"{url} answered {response.status} {response.reason}")
        return await _read(response, url, first)


async def _read(response: aiohttp.ClientResponse, url: str, first: int) -> bytes:
    """As much as is wanted of it. Not everybody heeds a range, and a file has gigabytes."""
    found = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        found += chunk
        if first and len(found) >= first:
            return bytes(found[:first])
        if len(found) > LONGEST_ANSWER:
            raise UnavailableError(f"{url} answered more than {LONGEST_ANSWER >> 20} MiB")
    return bytes(found)


def _passing(status: int) -> bool:
    """Whether the same request may get another answer soon."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
