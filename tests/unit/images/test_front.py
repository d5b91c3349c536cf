"""What stands before a Python server: keys, the limit, the end, and how far the start has come."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from serving.front import limit, stages
from serving.front.asgi import Message, Receive, Scope, Send
from serving.front.keys import Keys, texts
from serving.front.server import Front

from apis import container, reports

CHAT = "/v1/chat/completions"
KEY = "sk-of-the-first"


class Server:
    """An app whose answers are streams that end when they are told to."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            return
        self.served.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1", "more_body": True})
        await self.may_end.wait()
        await send({"type": "http.response.body", "body": b"data: [DONE]"})


class Client:
    """Asks the front as a server would."""

    def __init__(self, front: Front) -> None:
        self.front = front

    async def ask(
        self, path: str, method: str = "POST", kind: str = "http", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and body; of a WebSocket the code that it was closed with."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": f"{kind}.request"}

        given = [(name.replace("_", "-").encode(), each.encode()) for name, each in headers.items()]
        scope = {"type": kind, "method": method, "path": path, "headers": given}
        await self.front(scope, receive, send)
        if sent[0]["type"] == "websocket.close":
            return int(sent[0]["code"]), {}, ""
        told = {name.decode(): each.decode() for name, each in sent[0]["headers"]}
        body = b"".join(each.get("body", b"") for each in sent[1:])
        return int(sent[0]["status"]), told, body.decode()

    async def started(self, engine: object = None) -> None:
        async def send(message: Message) -> None:
            assert message["type"] == "lifespan.startup.complete"

        async def receive() -> Message:
            return {"type": "lifespan.startup"}

        app = SimpleNamespace(state=SimpleNamespace(engine_client=engine))
        await self.front({"type": "lifespan", "app": app}, receive, send)


@pytest.fixture
def server() -> Server:
    return Server()


def client(server: Server, tmp_path: Path, **environment: str) -> Client:
    nowhere = {container.ENV_API_KEYS_DIR: str(tmp_path / "none")}
    return Client(Front(server, {**nowhere, **environment}))


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def counted(name: str, labels: Mapping[str, str] | None = None) -> float:
    return REGISTRY.get_sample_value(name, dict(labels or {})) or 0.0


# --- keys ---------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "first").write_text(f"{KEY}\n")
    (folder / "second").write_text("sk-of-the-second")
    (folder / "..data").write_text("sk-hidden")
    return folder


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer nope"}, 401),
        ({"authorization": KEY}, 401),
        ({"authorization": "Bearer sk-hidden"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"x_api_key": ""}, 401),
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": "bearer sk-of-the-second"}, 200),
        ({"x_api_key": KEY}, 200),
    ],
)
async def test_any_of_the_keys_opens(
    server: Server, tmp_path: Path, keys: Path, headers: dict[str, str], status: int
) -> None:
    front = client(server, tmp_path, KAITO_API_KEYS_DIR=str(keys))
    for path in (CHAT, "/tokenize", "/v1/models", "/docs", "/load"):
        assert (await front.ask(path, **headers))[0] == status
    assert bool(server.served) == (status == 200)


@pytest.mark.parametrize("path", ["/health", "/metrics", "/metrics/", "/ping", "/kaito/adapters/a"])
async def test_probes_prometheus_and_what_has_a_token_of_its_own_need_none(
    server: Server, tmp_path: Path, keys: Path, path: str
) -> None:
    front = client(server, tmp_path, KAITO_API_KEYS_DIR=str(keys))
    assert (await front.ask(path, "GET"))[0] == 200


async def test_a_websocket_is_closed_before_it_is_open(
    server: Server, tmp_path: Path, keys: Path
) -> None:
    front = client(server, tmp_path, KAITO_API_KEYS_DIR=str(keys))
    assert (await front.ask("/v1/realtime", kind="websocket"))[0] == 1008


async def test_browsers_may_ask_whether_they_may_ask(
    server: Server, tmp_path: Path, keys: Path
) -> None:
    front = client(server, tmp_path, KAITO_API_KEYS_DIR=str(keys))
    assert (await front.ask(CHAT, "OPTIONS"))[0] == 200


async def test_without_the_directory_nobody_needs_a_key(server: Server, tmp_path: Path) -> None:
    assert (await client(server, tmp_path).ask(CHAT))[0] == 200


async def test_with_an_empty_directory_nobody_has_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    front = client(server, tmp_path, KAITO_API_KEYS_DIR=str(tmp_path / "empty"))
    assert (await front.ask(CHAT, authorization="Bearer "))[0] == 401


async def test_a_key_that_is_taken_away_opens_nothing(
    server: Server, tmp_path: Path, keys: Path
) -> None:
    """The kubelet makes the files anew, which changes the directory."""
    front = client(server, tmp_path, KAITO_API_KEYS_DIR=str(keys))
    assert (await front.ask(CHAT, authorization=f"Bearer {KEY}"))[0] == 200
    (keys / "first").unlink()
    os.utime(keys, ns=(1, 1))
    assert (await front.ask(CHAT, authorization=f"Bearer {KEY}"))[0] == 401
    assert (await front.ask(CHAT, authorization="Bearer sk-of-the-second"))[0] == 200


def test_keys_that_were_there_are_not_forgotten(keys: Path) -> None:
    """Who can move a directory away must not open the server by it."""
    found = Keys(keys)
    assert found.asked
    keys.rename(keys.parent / "away")
    assert found.asked
    assert not found.admit({"headers": []}, CHAT)


def test_an_engine_that_compares_keys_itself_gets_them_as_texts(keys: Path) -> None:
    assert texts(keys) == [KEY, "sk-of-the-second"]
    assert texts(keys / "none") == []


# --- the limit ----------------------------------------------------------------------------------


async def test_what_would_wait_too_long_is_refused_as_kaito_does(
    server: Server, tmp_path: Path
) -> None:
    front = client(server, tmp_path, KAITO_RATE_LIMIT="2")
    before = counted("kaito_ratelimit_rejected_total")
    server.may_end.clear()
    running = [asyncio.create_task(front.ask(CHAT)) for _ in range(4)]
    await until(lambda: len(server.served) == 4)
    status, headers, body = await front.ask(CHAT)
    assert status == 429
    assert 1 <= int(headers["retry-after"]) <= 60
    assert json.loads(body) == {
        "error": {
            "message": "Too many requests: waiting queue (3) exceeds max-num-seqs (2).",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert counted("kaito_ratelimit_rejected_total") == before + 1
    assert (await front.ask("/v1/realtime", kind="websocket"))[0] == 1013
    server.may_end.set()
    assert [status for status, _, _ in await asyncio.gather(*running)] == [200] * 4
    assert (await front.ask(CHAT))[0] == 200


async def test_health_metrics_and_models_pass_a_full_server(server: Server, tmp_path: Path) -> None:
    front = client(server, tmp_path, KAITO_RATE_LIMIT="1")
    server.may_end.clear()
    running = [asyncio.create_task(front.ask(CHAT)) for _ in range(2)]
    await until(lambda: len(server.served) == 2)
    assert (await front.ask(CHAT))[0] == 429
    server.may_end.set()
    for path in ("/health", "/metrics", "/v1/models"):
        assert (await front.ask(path, "GET"))[0] == 200
    await asyncio.gather(*running)


async def test_a_client_that_hangs_up_gives_its_place_back(server: Server, tmp_path: Path) -> None:
    front = client(server, tmp_path, KAITO_RATE_LIMIT="1")
    server.may_end.clear()
    running = [asyncio.create_task(front.ask(CHAT)) for _ in range(2)]
    await until(lambda: len(server.served) == 2)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    server.may_end.set()
    assert (await front.ask(CHAT))[0] == 200


async def test_the_limit_is_what_vllm_works_on_at_once(server: Server, tmp_path: Path) -> None:
    engine = SimpleNamespace(
        vllm_config=SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=3),
            parallel_config=SimpleNamespace(data_parallel_size=2),
        )
    )
    front = client(server, tmp_path)
    await front.started(engine)
    assert front.front.limit.at_once == 6
    other = client(server, tmp_path)
    await other.started(object())
    assert other.front.limit.at_once is None


async def test_the_limit_can_be_off(server: Server, tmp_path: Path) -> None:
    assert client(server, tmp_path, KAITO_RATE_LIMIT="off").front.limit.at_once is None


@pytest.mark.parametrize(
    ("path", "is_work"),
    [
        (CHAT, True),
        ("/v1/completions", True),
        ("/v1/responses", True),
        ("/v1/responses/resp_1/cancel", False),
        ("/v1/messages", True),
        ("/v1/messages/count_tokens", True),
        ("/v1/embeddings", True),
        ("/v1/audio/transcriptions", True),
        ("/pooling", True),
        ("/classify", True),
        ("/score", True),
        ("/v1/score", True),
        ("/v1/rerank", True),
        ("/v2/rerank", True),
        ("/v2/embed", True),
        ("/tokenize", True),
        ("/inference/v1/generate", True),
        ("/inference/v1/abort_requests", False),
        ("/v1/load_lora_adapter", False),
        ("/scale_elastic_ep", False),
        ("/ping", False),
        ("/scored", False),
    ],
)
def test_what_makes_an_engine_work_is_limited(path: str, is_work: bool) -> None:
    assert limit.guarded("http", "POST", path) is is_work
    assert not limit.guarded("http", "GET", path)


# --- the end ------------------------------------------------------------------------------------


async def test_after_sigterm_what_runs_ends_and_nothing_new_begins(
    server: Server, tmp_path: Path
) -> None:
    front = client(server, tmp_path, KAITO_RATE_LIMIT="4")
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    await front.started()
    server.may_end.clear()
    running = asyncio.create_task(front.ask(CHAT))
    await until(lambda: server.served)
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: front.front.stop.asked)
    assert (await front.ask("/health", "GET"))[0] == 503
    status, headers, body = await front.ask(CHAT)
    assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
    assert "stopping" in body
    for _ in range(50):
        await asyncio.sleep(0)
    assert not interrupted.is_set()
    server.may_end.set()
    assert (await running)[2].endswith("[DONE]")
    await asyncio.wait_for(interrupted.wait(), 5)


async def test_the_end_does_not_wait_for_ever(server: Server, tmp_path: Path) -> None:
    front = client(server, tmp_path, KAITO_DRAIN_SECONDS="0.01")
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    await front.started()
    server.may_end.clear()
    running = asyncio.create_task(front.ask(CHAT))
    await until(lambda: server.served)
    front.front.stop.ask()
    await asyncio.wait_for(interrupted.wait(), 5)
    server.may_end.set()
    await running


# --- the start ----------------------------------------------------------------------------------


def noted(*stages_at: tuple[str, float]) -> list[str]:
    return [json.dumps({"stage": stage, "at": at}) for stage, at in stages_at]


def test_a_stage_lasts_until_the_next_one() -> None:
    found = stages.lasted(
        noted(("start", 100), ("load", 110), ("load", 111), ("warm", 150), ("ready", 155))
    )
    assert found == {"load": 40, "warm": 5, "ready": 55}


def test_what_is_no_note_is_passed_over() -> None:
    assert stages.lasted(["{", "[]", '{"stage": "load"}', *noted(("warm", 1))]) == {}


async def test_ready_is_said_once_the_server_is(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = stages.start(tmp_path / "stages")
    stages.begin(reports.LOAD, "loading", environment)
    await client(server, tmp_path, **environment).started()
    said = reports.read(capsys.readouterr().out.splitlines())
    assert said.stage == reports.Stage(stage=reports.READY)
    for stage in (reports.LOAD, reports.READY):
        assert counted("kaito_startup_stage_seconds", {"stage": stage}) > 0


def test_how_long_the_download_took_lies_with_the_weights(tmp_path: Path) -> None:
    (tmp_path / container.DOWNLOAD_SECONDS_FILE).write_text("12.5")
    assert stages.seconds({}, tmp_path) == {"download": 12.5}
    assert stages.seconds({}, tmp_path / "none") == {}


def test_where_nothing_can_be_written_nothing_is_noted(tmp_path: Path) -> None:
    assert stages.start(tmp_path / "none/stages") == {}


def test_the_bounds_of_the_end_fit_into_the_pods() -> None:
    text = (Path(__file__).parents[3] / "images/serving/vllm/arguments.py").read_text()
    (engine,) = re.findall(r"^ENGINE_STOP_SECONDS = (\d+)$", text, re.M)
    from presets.engines import registry

    for name in ("vllm", "transformers"):
        assert container.DRAIN_SECONDS + int(engine) < registry.ENGINES[name].termination_seconds
