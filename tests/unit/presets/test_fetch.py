"""Hugging Face over HTTP: what is asked, what is tried again, what the user is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

import aiohttp
import pytest

from presets import fetch
from presets.fetch import AccessDeniedError, RepositoryError
from presets.huggingface import UnsupportedModelError

SHA = "0123456789012345678901234567890123456789"
LIST = f"{fetch.ENDPOINT}/api/models/org/m/revision/main?blobs=true"
CONFIG = f"{fetch.ENDPOINT}/org/m/resolve/{SHA}/config.json"
PARAMS = f"{fetch.ENDPOINT}/org/m/resolve/{SHA}/params.json"

FILES = json.dumps(
    {
        "sha": SHA,
        "siblings": [{"rfilename": "model.safetensors", "size": 1 << 30}, {"rfilename": "x"}],
    }
)
SHAPE = json.dumps({"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 256})


class Answer:
    def __init__(self, status: int, body: str = "") -> None:
        self.status = status
        self.reason = "Because"
        self.ok = status < 400
        self._body = body

    async def text(self) -> str:
        return self._body

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class Hub:
    """A session that has these answers, each list used up in turn; 404 for all else."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, list[Answer | Exception]] = answers
        self.seen: list[tuple[str, str]] = []

    def get(self, url: str, *, headers: dict[str, str], timeout: object) -> Answer:
        self.seen.append((url, headers.get("Authorization", "")))
        queue = self.answers.get(url, [])
        answer = (queue.pop(0) if len(queue) > 1 else queue[0]) if queue else Answer(404)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def hub() -> Hub:
    found = Hub()
    found.answers = {LIST: [Answer(200, FILES)], CONFIG: [Answer(200, SHAPE)]}
    return found


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def fetched(hub: Hub, pauses: list[float]) -> Callable[..., Any]:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def ask(**options: Any) -> Any:
        session: Any = hub
        return await fetch.model(session, "org/m", sleep=sleep, **options)

    return ask


async def test_a_model_is_pinned_to_its_commit(fetched: Callable[..., Any]) -> None:
    model = await fetched()
    assert model.hf_id == "org/m"
    assert model.revision == SHA
    assert model.weights_bytes == 1 << 30
    assert model.layers == 2


async def test_the_token_goes_along(hub: Hub, fetched: Callable[..., Any]) -> None:
    await fetched(token="secret")
    assert {token for _, token in hub.seen} == {"Bearer secret"}


async def test_without_a_token_none_is_sent(hub: Hub, fetched: Callable[..., Any]) -> None:
    await fetched()
    assert {token for _, token in hub.seen} == {""}


async def test_mistrals_config_is_the_second_choice(hub: Hub, fetched: Callable[..., Any]) -> None:
    del hub.answers[CONFIG]
    hub.answers[PARAMS] = [Answer(200, json.dumps({"dim": 256, "n_layers": 3, "n_heads": 4}))]
    assert (await fetched()).layers == 3


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Answer(503), id="server error"),
        pytest.param(Answer(429), id="throttled"),
        pytest.param(aiohttp.ServerDisconnectedError(), id="cut off"),
        pytest.param(TimeoutError(), id="too slow"),
    ],
)
async def test_what_may_pass_is_tried_again(
    trouble: Answer | Exception, hub: Hub, pauses: list[float], fetched: Callable[..., Any]
) -> None:
    hub.answers[LIST] = [trouble, trouble, Answer(200, FILES)]
    assert (await fetched()).revision == SHA
    assert pauses == [0.5, 1.0]


async def test_a_lasting_server_error_is_told(
    hub: Hub, pauses: list[float], fetched: Callable[..., Any]
) -> None:
    hub.answers[LIST] = [Answer(503)]
    with pytest.raises(RepositoryError, match="answered 503 Because"):
        await fetched()
    assert len(pauses) == fetch.ATTEMPTS - 1


async def test_lasting_silence_is_passed_on(hub: Hub, fetched: Callable[..., Any]) -> None:
    hub.answers[LIST] = [aiohttp.ServerDisconnectedError()]
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await fetched()


@pytest.mark.parametrize(
    ("token", "remedy"),
    [
        pytest.param("", "give a token in modelAccessSecret", id="none given"),
        pytest.param("wrong", "the token given does not open it", id="not good enough"),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
async def test_a_gated_repository(
    status: int, token: str, remedy: str, hub: Hub, pauses: list[float], fetched: Callable[..., Any]
) -> None:
    hub.answers[LIST] = [Answer(status)]
    with pytest.raises(AccessDeniedError, match=remedy):
        await fetched(token=token)
    assert pauses == []


async def test_no_such_model(hub: Hub, fetched: Callable[..., Any]) -> None:
    hub.answers = {}
    with pytest.raises(RepositoryError, match="no model 'org/m' at revision 'main'"):
        await fetched()


async def test_a_repository_without_config(hub: Hub, fetched: Callable[..., Any]) -> None:
    del hub.answers[CONFIG]
    with pytest.raises(UnsupportedModelError, match=r"neither config\.json nor params\.json"):
        await fetched()


async def test_an_unreadable_file_list(hub: Hub, fetched: Callable[..., Any]) -> None:
    hub.answers[LIST] = [Answer(200, "<html>")]
    with pytest.raises(RepositoryError, match="not readable"):
        await fetched()
