"""Ask Hugging Face for what `presets.huggingface` reads: the only I/O of this package."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiohttp
import msgspec

from presets import huggingface
from presets.model import Model

ENDPOINT = "https://huggingface.co"
ATTEMPTS = 4
"""Tries of a request that failed for reasons that may pass."""
BACKOFF_SECONDS = 0.5
"""Before the second try; twice as long before each further one."""
TIMEOUT = aiohttp.ClientTimeout(total=30)

_CONFIGS = ("config.json", "params.json")
"""Mistral's repositories may have only the second."""


class RepositoryError(Exception):
    """Hugging Face does not give what was asked for; the message tells the user what to do."""


class AccessDeniedError(RepositoryError):
    """The repository is gated or private, and the token, if there was one, does not open it."""


class _File(msgspec.Struct):
    rfilename: str
    size: int | None = None


class _Repository(msgspec.Struct):
    sha: str
    siblings: list[_File] = []


async def model(
    session: aiohttp.ClientSession,
    hf_id: str,
    *,
    token: str = "",
    revision: str = "main",
    endpoint: str = ENDPOINT,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Model:
    """The model of a repository, pinned to the commit that `revision` is now.

    RepositoryError where Hugging Face refuses, huggingface.UnsupportedModelError where the
    repository is no language model, aiohttp.ClientError or TimeoutError where it stays silent.
    """
    source = _Source(session, token, sleep)
    text = await source.get(f"{endpoint}/api/models/{hf_id}/revision/{revision}?blobs=true")
    if text is None:
        raise RepositoryError(f"Hugging Face has no model {hf_id!r} at revision {revision!r}")
    try:
        repository = msgspec.json.decode(text, type=_Repository)
    except msgspec.DecodeError as error:
        raise RepositoryError(f"the file list of {hf_id} is not readable: {error}") from error
    files = [huggingface.File(each.rfilename, each.size or 0) for each in repository.siblings]
    for name in _CONFIGS:
        config = await source.get(f"{endpoint}/{hf_id}/resolve/{repository.sha}/{name}")
        if config is not None:
            parsed = huggingface.parse_config(config)
            return huggingface.model(hf_id, parsed, files, revision=repository.sha)
    raise huggingface.UnsupportedModelError(f"{hf_id} has neither {' nor '.join(_CONFIGS)}")


class _Source:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        token: str,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._sleep = sleep

    async def get(self, url: str) -> str | None:
        """The body, or None where there is no such file; tries again what may pass."""
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                async with self._session.get(
                    url, headers=self._headers, timeout=TIMEOUT
                ) as response:
                    if last or not _passing(response.status):
                        return await self._body(response, url)
            except (aiohttp.ClientConnectionError, TimeoutError):
                if last:
                    raise
            await self._sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
        return None

    async def _body(self, response: aiohttp.ClientResponse, url: str) -> str | None:
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            remedy = (
                "the token given does not open it"
                if self._headers
                else "give a token in modelAccessSecret"
            )
            raise AccessDeniedError(f"{url} is gated, private or does not exist: {remedy}")
        if not response.ok:
            raise RepositoryError(f"{url} answered {response.status} {response.reason}")
        return await response.text()


def _passing(status: int) -> bool:
    """Whether the same request may get another answer soon."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
