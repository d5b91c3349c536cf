"""Question and passage read together by a cross-encoder: slower and better than comparing vectors.

Off unless a model or a service is set. A model runs in this process (sentence-transformers); a
service is asked as vLLM and Cohere have it: `{"model", "query", "documents"}` →
`{"results": [{"index", "relevance_score"}]}`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rag.asking import Asker, Sleep
from rag.embedding import files
from rag.embedding.settings import EmbeddingSettings
from rag.errors import EmbedderError, ModelError

_AT_ONCE = 4
"""Requests to a service."""
_RETRIES = 2
"""Fewer than for documents: somebody waits."""

Predict = Callable[[Sequence[tuple[str, str]]], Any]
"""A score for each pair of question and text; blocks."""


@dataclass(frozen=True, slots=True)
class RerankerSettings:
    model: str = ""
    """Of Hugging Face, or a directory's absolute path; with `url` the service's name for it."""
    url: str = ""
    key: str | None = field(default=None, repr=False)
    batch: int = 16
    """Texts at once."""
    timeout: float = 30.0
    """Seconds for one request to the service."""
    files: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    """Where a model of ours comes from, as the embedder's does."""


class LocalReranker:
    """A model in this process. One thread computes, since torch takes all cores for each."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reranker")

    @classmethod
    async def load(cls, settings: RerankerSettings) -> LocalReranker:
        """Raises ModelError where the model cannot be had, or is none."""
        place = settings.files.model_dir / "reranker"
        wanted = replace(settings.files, model_id=settings.model, model_dir=place, image="")
        folder = await asyncio.to_thread(files.locate, wanted)
        return cls(await asyncio.to_thread(_opened, folder, settings.batch))

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        if not texts:
            return []
        pairs = [(query, text) for text in texts]
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._thread, self._predict, pairs)
        return _checked(list(found), len(texts))

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)


class RemoteReranker:
    """A service. It is not asked before there is something to rank."""

    def __init__(self, settings: RerankerSettings, sleep: Sleep = asyncio.sleep) -> None:
        self._settings = settings
        self._url = endpoint(settings.url)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._service = Asker(
            "reranking",
            key=settings.key,
            timeout=settings.timeout,
            retries=_RETRIES,
            sleep=sleep,
        )

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        size = self._settings.batch
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        tasks = [asyncio.ensure_future(self._part(query, part)) for part in parts]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [score for scores in found for score in scores]

    async def close(self) -> None:
        await self._service.close()

    async def _part(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        body: dict[str, Any] = {"query": query, "documents": list(texts)}
        if self._settings.model:
            body["model"] = self._settings.model
        async with self._slots:
            said = await self._service.ask("POST", self._url, body)
        return _scores(said, len(texts))


async def load(settings: RerankerSettings) -> LocalReranker | RemoteReranker | None:
    """None where none is set. Raises EmbedderError."""
    if settings.url:
        return RemoteReranker(settings)
    if settings.model:
        return await LocalReranker.load(settings)
    return None


def endpoint(url: str) -> str:
    """/v1/rerank is added where the path is /v1 or empty."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path="/v1/rerank" if path in ("", "/v1") else path))


def _opened(folder: Path, batch: int) -> Predict:
    """The model, which has read something: what cannot is refused here."""
    from sentence_transformers import CrossEncoder

    try:
        model = CrossEncoder(str(folder), local_files_only=True, trust_remote_code=False)
        tried = model.predict([("once", "once")], show_progress_bar=False)
    except Exception as error:  # each library that has a part in it has errors of its own
        raise ModelError(f"{folder} is no reranker that can be loaded: {error}") from error
    if tried.ndim != 1:
        raise ModelError(f"{folder} is no reranker: it has {tried.shape[1]} scores for a pair.")

    def predict(pairs: Sequence[tuple[str, str]]) -> Any:
        try:
            return model.predict(list(pairs), batch_size=batch, show_progress_bar=False)
        except (RuntimeError, ValueError, IndexError) as error:  # of memory, too
            raise EmbedderError(f"The reranker failed: {error}") from error

    return predict


def _scores(said: Any, texts: int) -> Sequence[float]:
    """In the order of the texts; services answer best first."""
    results = said.get("results") if isinstance(said, dict) else None
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise EmbedderError("The reranking service answered what is no list of results.")
    places = [each.get("index") for each in results]
    if not all(isinstance(at, int) for at in places) or sorted(places) != [*range(texts)]:
        raise EmbedderError(f"The reranking service ranked {len(results)} of {texts} texts.")
    by_place = dict(zip(places, results, strict=True))
    return _checked([by_place[at].get("relevance_score") for at in range(texts)], texts)


def _checked(found: Sequence[Any], texts: int) -> Sequence[float]:
    try:
        scores = [float(each) for each in found]
    except (TypeError, ValueError):
        raise EmbedderError("The reranker answered a score that is no number.") from None
    if len(scores) != texts or not all(map(math.isfinite, scores)):
        raise EmbedderError(f"The reranker answered no {texts} finite scores.")
    return scores
