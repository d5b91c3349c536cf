"""Rerankers: a service on the loopback address, and a model's stand-in."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rag import reranking, settings
from rag.embedding.settings import EmbeddingSettings
from rag.errors import EmbedderError
from rag.reranking import LocalReranker, RemoteReranker, RerankerSettings, endpoint

from tests.unit.rag.embedding.fake_service import Answer, FakeService, Pauses

KEY = "hush"
TEXTS = ["a", "ccc", "bb", "dddd", "eeeee"]


def ranks(body: dict[str, Any]) -> Answer:
    """Longer is better; the best comes first."""
    scored = [
        {"index": at, "relevance_score": len(text) / 10, "document": {"text": text}}
        for at, text in enumerate(body["documents"])
    ]
    return 200, {}, {"results": sorted(scored, key=lambda each: -each["relevance_score"])}


@asynccontextmanager
async def connected(
    service: FakeService, path: str = "", **more: Any
) -> AsyncIterator[tuple[RemoteReranker, Pauses]]:
    pauses = Pauses()
    async with service.running():
        wanted = RerankerSettings(url=service.url + path, key=KEY, **{"batch": 2, **more})
        reranker = RemoteReranker(wanted, pauses)
        try:
            yield reranker, pauses
        finally:
            await reranker.close()


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://r", "http://r/v1/rerank"),
        ("http://r/v1/", "http://r/v1/rerank"),
        ("http://r/v2/rerank", "http://r/v2/rerank"),
    ],
)
def test_the_url(url: str, asked: str) -> None:
    assert endpoint(url) == asked


async def test_a_service_is_asked_in_parts() -> None:
    service = FakeService(ranks)
    async with connected(service, model="m") as (reranker, _):
        assert await reranker.rerank("q", TEXTS) == [0.1, 0.3, 0.2, 0.4, 0.5]
        assert await reranker.rerank("q", []) == []
    assert sorted(service.bodies, key=lambda body: str(body["documents"])) == [
        {"model": "m", "query": "q", "documents": each}
        for each in (["a", "ccc"], ["bb", "dddd"], ["eeeee"])
    ]
    assert set(service.keys) == {f"Bearer {KEY}"}
    assert set(service.paths) == {"POST /v1/rerank"}


async def test_without_a_model_none_is_named() -> None:
    service = FakeService(ranks)
    async with connected(service) as (reranker, _):
        await reranker.rerank("q", ["a"])
    assert service.bodies == [{"query": "q", "documents": ["a"]}]


def results(*scores: Any) -> dict[str, Any]:
    return {"results": [{"index": at, "relevance_score": each} for at, each in enumerate(scores)]}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("no JSON", "no JSON"),
        ([], "no list of results"),
        ({"results": [1]}, "no list of results"),
        (results(0.5), "ranked 1 of 2"),
        (results(0.5, 0.5, 0.5), "ranked 3 of 2"),
        ({"results": [{"index": 0, "relevance_score": 1}] * 2}, "ranked 2 of 2"),
        ({"results": [{"relevance_score": 1}] * 2}, "ranked 2 of 2"),
        (results(0.5, None), "no number"),
        (results(0.5, "high"), "no number"),
        ('{"results": [{"index": 0, "relevance_score": NaN}, {"index": 1, "relevance_score": 1}]}',
         "no 2 finite scores"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_refused(said: Any, reason: str) -> None:
    async with connected(FakeService(lambda _: (200, {}, said))) as (reranker, _):
        with pytest.raises(EmbedderError, match=reason) as caught:
            await reranker.rerank("q", ["a", "b"])
        assert caught.value.status == 502


async def test_errors_of_the_service() -> None:
    service = FakeService(ranks, first=[(429, {"Retry-After": "3"}, ""), (401, {}, f"bad {KEY}")])
    async with connected(service) as (reranker, pauses):
        with pytest.raises(EmbedderError, match=r"answered 401: bad \*\*\*$") as caught:
            await reranker.rerank("q", ["a"])
        assert pauses.seconds == [3]
        assert caught.value.status == 502


async def test_one_that_hangs_is_a_504() -> None:
    service = FakeService(ranks)

    async def hold(_: Any) -> None:
        await asyncio.Event().wait()

    service.hold = hold
    async with connected(service, timeout=0.05) as (reranker, _):
        with pytest.raises(EmbedderError, match=r"The reranking service .* did not") as caught:
            await reranker.rerank("q", ["a"])
        assert caught.value.status == 504


async def test_a_model_reads_pairs_in_its_thread() -> None:
    threads: set[str] = set()

    def predict(pairs: Sequence[tuple[str, str]]) -> Any:
        threads.add(threading.current_thread().name)
        return np.array([len(query) + len(text) for query, text in pairs], np.float32)

    reranker = LocalReranker(predict)
    assert await reranker.rerank("q", TEXTS) == [2.0, 4.0, 3.0, 5.0, 6.0]
    assert await reranker.rerank("q", []) == []
    await reranker.close()
    assert threads == {"reranker_0"}


@pytest.mark.parametrize("scores", [[0.5], [[0.1, 0.2], [0.3, 0.4]], [0.5, float("nan")]])
async def test_scores_of_a_model_are_checked(scores: Any) -> None:
    reranker = LocalReranker(lambda _: scores)
    with pytest.raises(EmbedderError):
        await reranker.rerank("q", ["a", "b"])
    await reranker.close()


class CrossEncoder:
    """In place of sentence_transformers'."""

    def __init__(self, folder: str, **options: Any) -> None:
        assert options == {"local_files_only": True, "trust_remote_code": False}
        if not (Path(folder) / "weights").is_file():
            raise TypeError("no weights")

    def predict(self, pairs: Sequence[tuple[str, str]], **options: Any) -> Any:
        assert not options["show_progress_bar"]
        if any(text == "too large" for _, text in pairs):
            raise RuntimeError("out of memory")
        return np.array([options.get("batch_size", 0)] * len(pairs), np.float32)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sentence_transformers")
    module.CrossEncoder = CrossEncoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


def test_settings_of_the_environment() -> None:
    unset = settings.read({}).reranker
    assert unset == RerankerSettings(files=settings.read({}).embedding)
    assert settings.read(
        {
            "RAG_RERANKER_MODEL": "m",
            "RAG_RERANKER_URL": "http://r",
            "RAG_RERANKER_ACCESS_SECRET": KEY,
            "LLM_RERANKER_BATCH_SIZE": "5",
            "RAG_RERANKER_TIMEOUT_SECONDS": "2.5",
            "RAG_MODEL_DIR": "/models",
            "HF_TOKEN": "t",
        }
    ).reranker == RerankerSettings(
        "m", "http://r", KEY, 5, 2.5, replace(unset.files, model_dir=Path("/models"), token="t")
    )


@pytest.mark.usefixtures("library")
class TestLoad:
    async def test_off_by_default(self) -> None:
        assert await reranking.load(RerankerSettings()) is None

    async def test_a_service_goes_before_a_model_here(self) -> None:
        found = await reranking.load(RerankerSettings(model="m", url="http://r"))
        assert isinstance(found, RemoteReranker)
        await found.close()

    @pytest.mark.parametrize("by_path", [True, False])
    async def test_a_model(self, tmp_path: Path, by_path: bool) -> None:
        folder = tmp_path / "reranker"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "weights").touch()
        (tmp_path / "config.json").write_text("{}")  # the embedder's, beside it
        files = EmbeddingSettings(model_dir=tmp_path, image="nowhere.invalid/embedder")
        model = str(folder) if by_path else "a/reranker"
        found = await reranking.load(RerankerSettings(model=model, batch=7, files=files))
        assert isinstance(found, LocalReranker)
        assert await found.rerank("q", ["a", "b"]) == [7.0, 7.0]
        with pytest.raises(EmbedderError, match="The reranker failed: out of memory"):
            await found.rerank("q", ["too large"])
        await found.close()

    async def test_what_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(EmbedderError, match="is no reranker that can be loaded: no weights"):
            await reranking.load(RerankerSettings(model=str(tmp_path)))
