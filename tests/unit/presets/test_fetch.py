"""Hugging Face over HTTP: what is asked, what is tried again, what the user is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_gguf import LLAMA, a_head

from presets import fetch
from presets.fetch import (
    AccessDeniedError,
    RepositoryError,
    UnavailableError,
    UnknownRepositoryError,
)
from presets.files import UnsupportedModelError
from tests.fakes.hub import COMMIT, Repository
from tests.fakes.hub import Hub as Server

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
    def __init__(self, status: int, body: str | bytes = "", code: str = "") -> None:
        self.status = status
        self.reason = "Because"
        self.ok = status < 400
        self.headers = {"X-Error-Code": code} if code else {}
        self.content = self
        self._body = body.encode() if isinstance(body, str) else body

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), size):
            yield self._body[start : start + size]

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
        self.ranges: list[str] = []

    def get(self, url: str, *, headers: dict[str, str], timeout: object) -> Answer:
        self.seen.append((url, headers.get("Authorization", "")))
        if "Range" in headers:
            self.ranges.append(headers["Range"])
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

    async def ask(name: str = "org/m", **options: Any) -> Any:
        session: Any = hub
        return await fetch.model(session, name, sleep=sleep, **options)

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
    with pytest.raises(UnavailableError, match="answered 503 Because"):
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
    with pytest.raises(UnknownRepositoryError, match="no model 'org/m' at revision 'main'"):
        await fetched()


async def test_a_repository_without_config(hub: Hub, fetched: Callable[..., Any]) -> None:
    del hub.answers[CONFIG]
    with pytest.raises(UnsupportedModelError, match=r"neither config\.json nor params\.json"):
        await fetched()


async def test_an_unreadable_file_list(hub: Hub, fetched: Callable[..., Any]) -> None:
    hub.answers[LIST] = [Answer(200, "<html>")]
    with pytest.raises(UnavailableError, match="not readable"):
        await fetched()


@pytest.mark.parametrize("name", ["phi-4", "a/b/c", "../m", "org/m?x"])
async def test_a_name_that_is_no_repository_is_not_asked_for(
    name: str, hub: Hub, fetched: Callable[..., Any]
) -> None:
    with pytest.raises(RepositoryError, match="name it owner/model"):
        await fetched(name)
    assert hub.seen == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("org/m@v1/x", {}, id="in the name"),
        pytest.param("org/m", {"revision": "v1/x"}, id="as a word of its own"),
        pytest.param("org/m@main", {"revision": "v1/x"}, id="the word counts more"),
    ],
)
async def test_another_revision(
    name: str, options: dict[str, str], hub: Hub, fetched: Callable[..., Any]
) -> None:
    hub.answers[LIST.replace("main", "v1%2Fx")] = hub.answers.pop(LIST)
    model = await fetched(name, **options)
    assert model.revision == SHA
    assert model.aliases == (() if "@" not in name else (name,))


async def test_a_mirror(hub: Hub, fetched: Callable[..., Any]) -> None:
    hub.answers = {
        url.replace(fetch.ENDPOINT, "http://mirror"): kept for url, kept in hub.answers.items()
    }
    assert (await fetched(endpoint="http://mirror")).layers == 2


async def test_the_id_is_spelled_as_the_hub_does_and_found_by_the_name_asked_for(
    hub: Hub, fetched: Callable[..., Any]
) -> None:
    renamed = json.loads(FILES) | {"id": "Org/New-M", "gated": "auto"}
    hub.answers[LIST] = [Answer(200, json.dumps(renamed))]
    hub.answers[CONFIG.replace("org/m", "Org/New-M")] = hub.answers.pop(CONFIG)
    model = await fetched()
    assert (model.hf_id, model.name, model.aliases) == ("Org/New-M", "new-m", ("org/m",))
    assert model.auth_required


@pytest.mark.parametrize("code", ["GatedRepo", "RepoNotFound", ""])
async def test_gated_is_told_from_private(code: str, hub: Hub, fetched: Callable[..., Any]) -> None:
    hub.answers[LIST] = [Answer(401, code=code)]
    with pytest.raises(AccessDeniedError) as denied:
        await fetched()
    assert denied.value.gated is (code == "GatedRepo")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("https://huggingface.co", "http://proxy:3128", id="everything else"),
        pytest.param("https://hub.corp", None, id="excepted"),
        pytest.param("http://huggingface.co", None, id="another scheme"),
    ],
)
def test_the_proxy_of_the_environment(
    url: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,.corp")
    assert fetch.proxy(url) == expected


GGUF_LIST = json.dumps(
    {"sha": SHA, "siblings": [{"rfilename": "m-Q4_K_M.gguf", "size": 800 << 20}]}
)
GGUF_FILE = f"{fetch.ENDPOINT}/org/m/resolve/{SHA}/m-Q4_K_M.gguf"


@pytest.mark.parametrize(
    "config",
    [pytest.param(None, id="none"), pytest.param('{"model_type": "llama"}', id="a stub")],
)
async def test_the_numbers_of_a_gguf_repository_are_read_from_the_head_of_its_file(
    config: str | None, hub: Hub, fetched: Callable[..., Any]
) -> None:
    head = a_head(*LLAMA) + bytes(fetch.LONGEST_ANSWER)
    hub.answers = {LIST: [Answer(200, GGUF_LIST)], GGUF_FILE: [Answer(200, head)]}
    if config is not None:
        hub.answers[CONFIG] = [Answer(200, config)]
    model = await fetched()
    assert hub.ranges == ["bytes=0-1048575"]
    assert (model.gguf_file, model.gguf_bytes) == ("m-Q4_K_M.gguf", 800 << 20)
    assert (model.layers, model.kv_heads, model.head_dim) == (16, 8, 64)
    assert (model.max_model_len, model.vocab_size) == (131072, 2000)
    assert model.runtimes == ("llamacpp",)


async def test_a_config_that_tells_enough_spares_the_file(
    hub: Hub, fetched: Callable[..., Any]
) -> None:
    hub.answers[LIST] = [Answer(200, GGUF_LIST)]
    assert (await fetched("org/m:Q4_K_M")).layers == 2
    assert hub.ranges == []


async def test_an_endless_answer_is_given_up(hub: Hub, fetched: Callable[..., Any]) -> None:
    hub.answers[CONFIG] = [Answer(200, b" " * (fetch.LONGEST_ANSWER + 1))]
    with pytest.raises(UnavailableError, match="more than 32 MiB"):
        await fetched()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"layer_types": 3}, id="a number for a list"),
        pytest.param({"architectures": 3}, id="a number for names"),
        pytest.param({"num_key_value_heads": 3}, id="heads that do not divide"),
        pytest.param({"quantization_config": {"weight_block_size": ["x"]}}, id="a word"),
        pytest.param({"text_config": [1]}, id="a list for an object"),
    ],
)
async def test_an_odd_config_is_the_repositorys_fault(
    config: dict[str, Any], hub: Hub, fetched: Callable[..., Any]
) -> None:
    hub.answers[CONFIG] = [Answer(200, json.dumps(json.loads(SHAPE) | config))]
    with pytest.raises(UnsupportedModelError):
        await fetched()


ODD: list[Any] = [
    None, True, False, 0, -1, 3, 1 << 40, 0.5, float("nan"), "", "x", "fp8", [], [0], ["x"], [None],
    {}, {"": None}, {"quant_method": 3}, {"quant_method": "fp8", "weight_block_size": 128},
]  # fmt: skip
KEYS = [
    "architectures", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim",
    "num_key_value_heads", "max_position_embeddings", "layer_types", "sliding_window",
    "text_config", "quantization_config", "quantization", "kv_lora_rank", "qk_rope_head_dim",
    "vocab_size", "torch_dtype", "num_experts", "moe_intermediate_size", "multi_query",
    "hybrid_override_pattern", "sliding_window_pattern",
]  # fmt: skip


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
@given(config=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(ODD)))
async def test_no_config_breaks_more_than_its_own_model(
    config: dict[str, Any], hub: Hub, fetched: Callable[..., Any]
) -> None:
    hub.answers[CONFIG] = [Answer(200, json.dumps(json.loads(SHAPE) | config))]
    try:
        model = await fetched()
    except UnsupportedModelError:
        return
    assert model.layers > 0


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Server, fetch.Hub]]:
    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server({"org/m": Repository()}).running() as server:
        hub = fetch.Hub(server.url, sleep=at_once)
        yield server, hub
        await hub.close()


Pair = tuple[Server, fetch.Hub]


async def test_a_commit_is_one_request(server: Pair) -> None:
    told, hub = server
    assert await hub.commit("org/m") == COMMIT
    assert dict(told.asked) == {"/api/models/org/m/revision/main": 1}


async def test_a_commit_is_asked_for_with_the_token(server: Pair) -> None:
    told, hub = server
    told.repositories["org/m"].token = "hf_good"
    assert await hub.commit("org/m", token="hf_good") == COMMIT
    with pytest.raises(AccessDeniedError):
        await hub.commit("org/m")
    with pytest.raises(UnknownRepositoryError):
        await hub.commit("org/m", token="hf_bad")


async def test_what_is_no_commit_pins_nothing(server: Pair) -> None:
    told, hub = server
    told.repositories["org/m"].commit = "main"
    with pytest.raises(UnavailableError, match="names no commit of org/m"):
        await hub.commit("org/m")


async def test_a_hub_that_is_down_is_asked_several_times_for_a_commit(server: Pair) -> None:
    told, hub = server
    told.down = True
    with pytest.raises(UnavailableError, match="503"):
        await hub.commit("org/m")
    assert told.asked.total() == fetch.ATTEMPTS
