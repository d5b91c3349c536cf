"""A remote embedder against a service on the loopback address."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from rag import embedding
from rag.documents import PROBE
from rag.embedding import vectors
from rag.embedding.remote import RemoteEmbedder, endpoint
from rag.embedding.settings import EmbeddingSettings
from rag.errors import EmbedderError, RefusedError

from tests.unit.rag.embedding.fake_service import Answer, FakeService, Pauses, kaito

KEY = "sk-very-secret"
UNIT = [0.6, 0.8, 0.0]


def settings(url: str, **more: Any) -> EmbeddingSettings:
    return EmbeddingSettings("remote", remote_url=url, remote_key=KEY, timeout=5, **more)


@asynccontextmanager
async def connected(
    service: FakeService, path: str = "/v1/embeddings", **more: Any
) -> AsyncIterator[tuple[RemoteEmbedder, Pauses]]:
    pauses = Pauses()
    async with service.running():
        embedder = await RemoteEmbedder.connect(settings(service.url + path, **more), pauses)
        try:
            yield embedder, pauses
        finally:
            await embedder.close()


@pytest.mark.parametrize(
    ("url", "asked", "is_openai"),
    [
        ("http://e", "http://e/v1/embeddings", True),
        ("http://e/", "http://e/v1/embeddings", True),
        ("http://e:80/v1/", "http://e:80/v1/embeddings", True),
        ("https://e/some/v1/embeddings", "https://e/some/v1/embeddings", True),
        ("http://e/v1/embeddings?a=b", "http://e/v1/embeddings?a=b", True),
        ("http://localhost:5000/embedding", "http://localhost:5000/embedding", False),
        ("http://e/embed", "http://e/embed", False),
    ],
)
def test_the_url_says_which_form(url: str, asked: str, is_openai: bool) -> None:
    assert endpoint(url) == (asked, is_openai)


async def test_openais_form() -> None:
    async with connected(FakeService()) as (embedder, _):
        assert (embedder.model, embedder.dimension, embedder.max_tokens) == ("m", 3, 512)
        assert embedder.directory is None
        found = await embedder.embed_documents(["a", "bb", "ccc"])
        np.testing.assert_allclose(found, [UNIT] * 3, rtol=1e-6)
        assert (await embedder.embed_query("a")).shape == (3,)
        assert (await embedder.embed_documents([])).shape == (0, 3)


async def test_what_is_sent() -> None:
    service = FakeService()
    async with connected(service, "/v1/embeddings?version=1") as (embedder, _):
        await embedder.embed_query("q")
    assert service.paths == ["GET /v1/models?version=1", *["POST /v1/embeddings?version=1"] * 2]
    assert service.bodies[0] == {"input": [PROBE], "model": "m", "encoding_format": "float"}
    assert set(service.keys) == {f"Bearer {KEY}"}


async def test_a_model_that_is_named_is_not_asked_for() -> None:
    service = FakeService()
    async with connected(service, remote_model="mine") as (embedder, _):
        assert embedder.model == "mine"
    assert service.paths == ["POST /v1/embeddings"]
    assert service.bodies[0]["model"] == "mine"


@pytest.mark.parametrize("models", [{}, {"data": []}, {"data": [{}]}, {"data": 3}, []])
async def test_a_service_without_models(models: Any) -> None:
    with pytest.raises(EmbedderError, match="set REMOTE_EMBEDDING_MODEL"):
        async with connected(FakeService(models=models)):
            pass


@pytest.mark.parametrize("nested", [False, True])
async def test_kaitos_form(nested: bool) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        status, headers, found = kaito(body)
        return status, headers, [found] if nested else found

    service = FakeService(answer)
    async with connected(service, "/embedding?token=hush") as (embedder, _):
        assert embedder.model == f"{service.url}/embedding"
        found = await embedder.embed_documents(["a", "bb", "ccc"])
        np.testing.assert_allclose(found, [UNIT] * 3, rtol=1e-6)
    assert service.bodies[0] == {"inputs": PROBE}
    assert sorted(each["inputs"] for each in service.bodies[1:]) == ["a", "bb", "ccc"]


async def test_many_texts_are_several_requests_in_the_right_order() -> None:
    def answer(body: dict[str, Any]) -> Answer:
        data = [
            {"index": at, "embedding": [1.0, float(text.split()[0]) if text != PROBE else 0.0]}
            for at, text in enumerate(body["input"])
        ]
        return 200, {}, {"data": data[::-1]}

    service = FakeService(answer)
    texts = [f"{at} {'word ' * (at % 7)}" for at in range(300)]
    async with connected(service) as (embedder, _):
        found = await embedder.embed_documents(texts)
    np.testing.assert_allclose(found[:, 1] / found[:, 0], range(300), rtol=1e-4)
    sizes = [len(body["input"]) for body in service.bodies[1:]]
    assert sum(sizes) == 300
    assert max(sizes) <= 128


async def test_a_query_does_not_wait_for_documents() -> None:
    service = FakeService()
    held, free = asyncio.Event(), asyncio.Event()
    asked: list[str] = []

    async def hold(body: dict[str, Any]) -> None:
        asked.append(body["inputs"])
        if body["inputs"].startswith("document"):
            if len(asked) > 4:
                held.set()
            await free.wait()

    service = FakeService(kaito)
    async with connected(service, "/embed") as (embedder, _):
        service.hold = hold
        asked.append("four are held")
        work = asyncio.ensure_future(
            embedder.embed_documents([f"document {at}" for at in range(9)])
        )
        await asyncio.wait_for(held.wait(), 5)
        await asyncio.wait_for(embedder.embed_query("query"), 5)
        assert not work.done()
        assert len(asked) == 6, "no more than four requests of documents at once"
        free.set()
        assert (await work).shape == (9, 3)


AGAIN: dict[str, tuple[list[Answer], list[tuple[float, float]]]] = {
    "busy": ([(429, {"Retry-After": "7"}, "")], [(7, 7)]),
    "too long a wait": ([(503, {"Retry-After": "86400"}, "")], [(30, 30)]),
    "a date": ([(503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "")], [(0.25, 0.5)]),
    "twice as long each time": (
        [(500, {}, ""), (502, {}, ""), (504, {}, "")],
        [(0.25, 0.5), (0.5, 1), (1, 2)],
    ),
}


@pytest.mark.parametrize("case", AGAIN)
async def test_it_is_asked_again(case: str) -> None:
    answers, waits = AGAIN[case]
    service = FakeService()
    async with connected(service) as (embedder, pauses):
        service.first = list(answers)
        await embedder.embed_query("q")
        assert len(pauses.seconds) == len(waits)
        for each, (low, high) in zip(pauses.seconds, waits, strict=True):
            assert low <= each <= high
    assert len(service.bodies) == 2 + len(answers)


async def test_not_for_ever() -> None:
    service = FakeService()
    async with connected(service, retries=2) as (embedder, pauses):
        service.first = [(503, {}, "too\nbusy")] * 3
        with pytest.raises(EmbedderError, match="answered 503: too busy") as caught:
            await embedder.embed_query("q")
        assert caught.value.status == 502
        assert len(pauses.seconds) == 2
        await embedder.embed_query("q")


async def test_a_refusal_is_told_at_once_and_without_secrets() -> None:
    service = FakeService()
    async with connected(service) as (embedder, pauses):
        service.first = [(400, {}, f"the key {KEY} may not;\n" + "input too long " * 100)]
        with pytest.raises(EmbedderError, match="answered 400: the key ") as caught:
            await embedder.embed_documents(["q"])
        assert pauses.seconds == []
    assert KEY not in caught.value.detail
    assert service.url in caught.value.detail
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    ("status", "is_refusal"), [(400, True), (413, True), (422, True), (401, False), (404, False)]
)
async def test_a_refusal_of_the_text_is_told_apart(status: int, is_refusal: bool) -> None:
    service = FakeService()
    async with connected(service) as (embedder, _):
        service.first = [(status, {}, "no")]
        with pytest.raises(EmbedderError) as caught:
            await embedder.embed_documents(["q"])
    assert isinstance(caught.value, RefusedError) is is_refusal


async def test_long_answers_are_read_in_a_thread_and_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that reads JSON lets nothing else run meanwhile, so both are needed."""

    def answer(body: dict[str, Any]) -> Answer:
        return 200, {}, data(*([1.0] + [0.123456789] * 4095 for _ in body["input"]))

    threads: set[str] = set()
    unit = vectors.unit

    def told(*arguments: Any) -> Any:
        threads.add(threading.current_thread().name)
        return unit(*arguments)

    service = FakeService(answer)
    async with connected(service) as (embedder, _):
        monkeypatch.setattr(vectors, "unit", told)
        service.answer = answer
        assert (await embedder.embed_documents(["a"] * 40)).shape == (40, 4096)
    assert threading.main_thread().name not in threads
    assert max(len(body["input"]) for body in service.bodies) == 12


async def test_user_and_query_of_the_url_are_not_told() -> None:
    service = FakeService(lambda _: (403, {}, "no"))
    async with service.running():
        url = service.url.replace("//", "//user:pass@") + "/embed?token=hush"
        with pytest.raises(EmbedderError) as caught:
            await RemoteEmbedder.connect(settings(url))
    assert caught.value.detail == f"The embedding service {service.url}/embed answered 403: no"


@pytest.mark.parametrize("status", [301, 307])
async def test_redirects_are_not_followed(status: int) -> None:
    service = FakeService()
    async with connected(service) as (embedder, _):
        service.first = [(status, {"Location": "/elsewhere"}, "")]
        with pytest.raises(EmbedderError, match=f"answered {status}"):
            await embedder.embed_query("q")
    assert not any("elsewhere" in path for path in service.paths)


async def test_one_that_hangs_is_a_504() -> None:
    service = FakeService()
    async with service.running():
        slow = EmbeddingSettings(
            "remote", remote_url=service.url, remote_model="m", timeout=0.05, retries=4
        )
        embedder = RemoteEmbedder(slow, pauses := Pauses())

        async def hold(_: Any) -> None:
            await asyncio.Event().wait()

        service.hold = hold
        with pytest.raises(EmbedderError, match=r"did not answer within 0\.05 s") as caught:
            await embedder.embed_query("q")
        assert caught.value.status == 504
        assert pauses.seconds == [], "somebody has waited long enough"
        assert len(service.bodies) == 1
        await embedder.close()


async def test_one_that_is_down_is_a_502() -> None:
    service = FakeService()
    async with connected(service, retries=1) as (embedder, pauses):
        async with service.running():
            pass
        embedder._url = f"{service.url}/v1/embeddings"  # where nobody listens any more
        with pytest.raises(EmbedderError, match="cannot be reached: ConnectError") as caught:
            await embedder.embed_query("q")
    assert caught.value.status == 502
    assert len(pauses.seconds) == 1


def data(*vectors: Any) -> dict[str, Any]:
    return {"data": [{"index": at, "embedding": each} for at, each in enumerate(vectors)]}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("no JSON", "no JSON"),
        ([1, 2], "no list of embeddings"),
        ({"data": [1]}, "no list of embeddings"),
        ({"data": []}, "0 vectors to 2 texts"),
        (data(UNIT), "1 vectors to 2 texts"),
        (data(UNIT, UNIT, UNIT), "3 vectors to 2 texts"),
        ({"data": [{"index": 0, "embedding": UNIT}] * 2}, "2 vectors to 2 texts"),
        ({"data": [{"index": [0], "embedding": UNIT}] * 2}, "2 vectors to 2 texts"),
        (data([1.0, 2.0], [1.0, 2.0]), "2 dimensions, and had 3 before"),
        (data(UNIT, [1.0, 2.0]), "no list of vectors"),
        (data(UNIT, None), "no list of vectors"),
        ('{"data": [{"embedding": [NaN, 1, 1]}, {"embedding": [1, 1, 1]}]}', "not finite"),
        (data(UNIT, [0.0, 0.0, 0.0]), "no length"),
    ],
)
async def test_what_is_no_answer_is_refused(said: Any, reason: str) -> None:
    service = FakeService()
    async with connected(service) as (embedder, _):
        service.first = [(200, {}, said)]
        with pytest.raises(EmbedderError, match=reason) as caught:
            await embedder.embed_documents(["a", "b"])
        assert caught.value.status == 502


async def test_one_part_that_fails_ends_the_others() -> None:
    service = FakeService(kaito)

    async def hold(body: dict[str, Any]) -> None:
        if body["inputs"] != "bad":
            await asyncio.Event().wait()
        service.first = [(400, {}, "bad")]

    async with connected(service, "/embed") as (embedder, _):
        service.hold = hold
        with pytest.raises(EmbedderError, match="answered 400"):
            await asyncio.wait_for(embedder.embed_documents(["a", "b", "bad", *"cdefgh"]), 5)


async def test_cancelling_ends_the_requests() -> None:
    service = FakeService(kaito)
    held = asyncio.Event()

    async def hold(_: dict[str, Any]) -> None:
        held.set()
        await asyncio.Event().wait()

    async with connected(service, "/embed") as (embedder, _):
        service.hold = hold
        work = asyncio.ensure_future(embedder.embed_documents(["a", "b", "c"]))
        await asyncio.wait_for(held.wait(), 5)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        service.hold = None
        assert (await embedder.embed_query("after")).shape == (3,)
    assert service.cancelled >= 1


async def test_load_chooses_by_the_source() -> None:
    service = FakeService()
    async with service.running():
        embedder = await embedding.load(settings(service.url))
        assert isinstance(embedder, RemoteEmbedder)
        await embedder.close()
