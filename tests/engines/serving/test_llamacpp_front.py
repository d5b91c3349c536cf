"""The real llama.cpp with a small real model: its keys, its room, its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apis import reports
from localcluster import paths
from localcluster.models import Models
from tests.engines.serving.conftest import KEY, Server, Start

LOCK = "images/serving/llamacpp/requirements.lock"
COMPLETIONS = "/v1/completions"
SMALL_CONTAINER = """
import sys
from serving import machine
from serving.llamacpp.__main__ import main
machine.memory_gib = lambda: 1.3
sys.exit(main())
"""
"""As `python -m serving.llamacpp`, where the whole context of 32768 tokens has no room."""


def request(tokens: int, *, stream: bool = True) -> dict[str, Any]:
    more = {"ignore_eos": True, "temperature": 0, "stream": stream}
    return {"prompt": "once upon a time", "max_tokens": tokens, **more}


@pytest.fixture(scope="module")
def server(
    start: Start, python_of: Callable[[str], Path], image_environment: dict[str, str]
) -> Server:
    model = Models(paths.cache_directory(os.environ)).ensure()
    argv = [str(python_of(LOCK)), "-c", SMALL_CONTAINER, f"--model={model}", "--alias=gemma"]
    # llama.cpp's threads spin while they wait for each other: beside other work, one is faster.
    return start([*argv, "--threads=1", "--drain-seconds=100"], image_environment)


def test_the_start_is_told(server: Server) -> None:
    """The last line may come a moment after the first answer."""
    end = time.monotonic() + 30
    while f'"{reports.READY}"' not in server.log:
        assert time.monotonic() < end
    told = [reports.parse(reports.Stage, line) for line in server.log.splitlines()]
    assert [each.stage for each in told if each] == [reports.LOAD, reports.READY]


def test_a_context_that_does_not_fit_is_made_to(server: Server) -> None:
    """The server says what it took, and has it."""
    (said,) = [line for line in server.log.splitlines() if "more does not fit" in line]
    tokens = int(said.partition("context of ")[2].split()[0])
    assert 8192 <= tokens < 32768
    assert {slot["n_ctx"] for slot in server.get("/slots").document} == {tokens}


def test_another_key_holds_without_another_start(server: Server) -> None:
    """As the kubelet brings it: old and new side by side, then the new one alone."""
    another = "sk-that-is-new"
    _bring(server, first=KEY, second=another)
    assert server.get("/v1/models", another).status == 200
    assert server.get("/v1/models").status == 200
    _bring(server, second=another)
    assert server.get("/v1/models").status == 401
    _bring(server)
    assert server.get("/v1/models", another).status == 401
    _bring(server, first=KEY)
    assert server.get("/v1/models").status == 200


def _bring(server: Server, **keys: str) -> None:
    """Other files in the directory, and no doubt that it is another moment."""
    for each in server.keys.iterdir():
        each.unlink()
    for name, key in keys.items():
        (server.keys / name).write_text(key)
    later = server.keys.stat().st_mtime_ns + 1_000_000_000
    os.utime(server.keys, ns=(later, later))


@pytest.mark.parametrize("path", ["/v1/models", "/slots"])
def test_nobody_asks_without_a_key(server: Server, path: str) -> None:
    for key in ("", "sk-another"):
        assert server.get(path, key).status == 401
    assert server.get(path).status == 200
    for path in ("/health", "/metrics"):
        assert server.get(path, key="").status == 200


def test_a_stream_that_runs_when_the_server_is_told_to_end_ends_first(server: Server) -> None:
    """New clients are refused at once, and the exit code is 0. The last of the server's tests."""
    running = server.in_the_background(COMPLETIONS, request(60))
    end = time.monotonic() + 30
    while not any(slot["is_processing"] for slot in server.get("/slots").document):
        assert time.monotonic() < end
    server.process.send_signal(signal.SIGTERM)
    while _takes_connections(server):
        assert time.monotonic() < end
    assert not running.done()
    answer = running.result(100)
    assert (answer.status, answer.whole) == (200, True)
    assert answer.text.count("data: {") >= 60
    assert server.process.wait(30) == 0
    assert "stopped with requests in work" not in server.log


def _takes_connections(server: Server) -> bool:
    try:
        server.get("/health", key="")
    except ConnectionError:
        return False
    except OSError as error:
        return not isinstance(getattr(error, "reason", None), ConnectionError)
    return True


def test_the_key_is_in_no_line_of_the_log(server: Server) -> None:
    assert KEY not in server.log
