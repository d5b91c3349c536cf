"""A service that embeds: OpenAI's `/v1/embeddings`, or KAITO's own form, told apart by the URL.

OpenAI's where the path ends with /v1/embeddings or is /v1, or is empty (/v1/embeddings is added):
`{"input": [texts], "model"}` → `{"data": [{"index", "embedding"}]}`. Every other path is KAITO's:
`{"inputs": text}` → the bare list of numbers, one text a request; or a list of that list, as
text-embeddings-inference's `/embed` answers the same request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from rag.asking import Asker, Sleep
from rag.documents import PROBE, Vectors
from rag.embedding import vectors
from rag.embedding.lines import portions
from rag.embedding.settings import EmbeddingSettings
from rag.errors import EmbedderError

_AT_ONCE = 4
"""Requests of documents; a service that can do more batches them itself. Queries have as many of
their own, and never wait for documents."""
_OPENAI_TEXTS = 128
_OPENAI_BATCHES = 8
_BATCH_TOKENS = 2048
"""Of `batch_tokens` so many go into one request: nothing here waits for it."""
_NUMBERS = 48 << 10
"""In one answer: 128 texts of 384 dimensions. A thread that reads JSON lets nothing else run, so
long answers would hold up everybody's requests (200 ms for half a million numbers)."""


class RemoteEmbedder:
    """Safe to call from many tasks at once."""

    def __init__(self, settings: EmbeddingSettings, sleep: Sleep = asyncio.sleep) -> None:
        self._settings = settings
        self._url, self._openai = endpoint(settings.remote_url)
        self._service = Asker(
            "embedding",
            key=settings.remote_key,
            timeout=settings.timeout,
            retries=settings.retries,
            sleep=sleep,
        )
        self._documents = asyncio.Semaphore(_AT_ONCE)
        self._queries = asyncio.Semaphore(_AT_ONCE)
        self.model = settings.remote_model
        self.dimension = 0
        self.directory: Path | None = None
        self.max_tokens = 0
        """Where the service tells it, as vLLM does beside the name of its model."""

    @classmethod
    async def connect(
        cls, settings: EmbeddingSettings, sleep: Sleep = asyncio.sleep
    ) -> RemoteEmbedder:
        """Raises EmbedderError where the service does not embed."""
        found = cls(settings, sleep)
        try:
            if found._openai and not found.model:
                await found._take_first_model()
            found.model = found.model or _without_secrets(settings.remote_url)
            (vector,) = await found._embed([PROBE])
            found.dimension = len(vector)
        except BaseException:
            await found.close()
            raise
        return found

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """In several requests, a few at once."""
        if not texts:
            return vectors.none(self.dimension)
        found = np.empty((len(texts), self.dimension), dtype=np.float32)

        async def part(places: list[int]) -> None:
            async with self._documents:
                found[places] = await self._embed([texts[at] for at in places])

        tasks = [asyncio.ensure_future(part(places)) for places in self._parts(texts)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return found

    async def embed_query(self, text: str) -> Vectors:
        async with self._queries:
            found: Vectors = (await self._embed([text]))[0]
        return found

    async def close(self) -> None:
        await self._service.close()

    def _parts(self, texts: Sequence[str]) -> list[list[int]]:
        if not self._openai:
            return [[at] for at in range(len(texts))]
        most = max(1, min(_OPENAI_TEXTS, _NUMBERS // self.dimension))
        tokens = self._settings.batch_tokens or _BATCH_TOKENS
        return [
            places[start : start + most]
            for places in portions(texts, _OPENAI_BATCHES * tokens)
            for start in range(0, len(places), most)
        ]

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        """One text, or as many as go into one request."""
        dimension = self.dimension or None

        def read(said: Any) -> Vectors:
            found = _of_openai(said, len(texts)) if self._openai else [_bare(said)]
            return vectors.unit(found, len(texts), dimension)

        body: dict[str, Any] = {"inputs": texts[0]}
        if self._openai:
            body = {"input": list(texts), "model": self.model, "encoding_format": "float"}
        matrix: Vectors = await self._service.ask("POST", self._url, body, read)
        return matrix

    async def _take_first_model(self) -> None:
        parts = urlsplit(self._url)
        path = parts.path.removesuffix("/embeddings") + "/models"
        said = await self._service.ask("GET", urlunsplit(parts._replace(path=path)))
        models = said.get("data") if isinstance(said, dict) else None
        first = models[0] if isinstance(models, list) and models else None
        if not isinstance(first, dict) or not isinstance(first.get("id"), str):
            raise EmbedderError("The embedding service names no model; set REMOTE_EMBEDDING_MODEL.")
        self.model = first["id"]
        limit = first.get("max_model_len")
        self.max_tokens = limit if isinstance(limit, int) and limit > 0 else 0


def endpoint(url: str) -> tuple[str, bool]:
    """Where to ask, and whether in OpenAI's form."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if path in ("", "/v1"):
        path = "/v1/embeddings"
    openai = path.endswith("/v1/embeddings")
    return urlunsplit(parts._replace(path=path)), openai


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _of_openai(said: Any, texts: int) -> list[Any]:
    """In the order of the texts, whatever the answer's."""
    data = said.get("data") if isinstance(said, dict) else None
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise EmbedderError("The embedding service answered what is no list of embeddings.")
    places = [each.get("index", at) for at, each in enumerate(data)]
    if not all(isinstance(each, int) for each in places) or sorted(places) != [*range(texts)]:
        raise EmbedderError(f"The embedding service answered {len(data)} vectors to {texts} texts.")
    by_place = dict(zip(places, data, strict=True))
    return [by_place[at].get("embedding") for at in range(texts)]


def _bare(said: Any) -> Any:
    """The vector of one text."""
    nested = isinstance(said, list) and len(said) == 1 and isinstance(said[0], list)
    return said[0] if nested else said
