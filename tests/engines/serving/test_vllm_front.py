"""The real vLLM, on CPUs, behind our front: one server, from its start to its end."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apis import reports
from tests.engines.serving.conftest import KEY, Server, Start

LOCK = "images/serving/vllm/requirements-cpu.lock"
COMPLETIONS = "/v1/completions"
AT_ONCE = 2
LONGEST = 3900
"""Tokens; the model's context has 4,096."""


def request(tokens: int) -> dict[str, Any]:
    return {
        "model": "tiny",
        "prompt": "a few words",
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
    }


@pytest.fixture(scope="module")
def server(
    start: Start,
    python_of: Callable[[str], Path],
    image_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    python, model = python_of(LOCK), tmp_path_factory.mktemp("model")
    script = Path(__file__).with_name("tiny_llama.py")
    subprocess.run([python, script, model], env=image_environment, check=True, capture_output=True)
    return start(
        [
            str(python),
            "-m",
            "serving.vllm",
            f"--model={model}",
            "--served-model-name=tiny",
            f"--max-num-seqs={AT_ONCE}",
            "--max-model-len=auto",
        ],
        {**image_environment, "KAITO_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1"},
    )


def counted(server: Server, what: str) -> float:
    """Requests that vLLM has `running` or `waiting`."""
    found = server.metrics().items()
    return sum(value for name, value in found if name.startswith(f"vllm:num_requests_{what}{{"))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def tokens_within(server: Server, seconds: float) -> int:
    """How many are made in that time on this machine, as busy as it is."""
    few, begun = 40, time.monotonic()
    assert server.post(COMPLETIONS, request(few)).status == 200
    return min(LONGEST, max(few, int(few * seconds / (time.monotonic() - begun))))


def test_the_start_is_told_stage_by_stage(server: Server) -> None:
    told = [reports.parse(reports.Stage, line) for line in server.log.splitlines()]
    stages = [each.stage for each in told if each]
    assert stages == [reports.LOAD, reports.WARM, reports.READY]
    seconds = {
        stage: server.metrics()[f'kaito_startup_stage_seconds{{stage="{stage}"}}']
        for stage in stages
    }
    assert all(each > 0 for each in seconds.values())
    assert seconds[reports.LOAD] + seconds[reports.WARM] < seconds[reports.READY]


def test_vllms_own_log_is_as_it_was(server: Server) -> None:
    """Its formatter, with the process and the place; and each line once."""
    lines = [line for line in server.log.splitlines() if "Starting vLLM server on" in line]
    assert len(lines) == 1
    assert "(APIServer pid=" in lines[0]
    assert "INFO" in lines[0]
    assert "[entry.py:" in lines[0]


def test_the_download_is_over_for_kaitos_dashboards(server: Server) -> None:
    found = server.metrics()
    assert found["kaito_model_download_remaining_seconds"] == 0
    assert found["kaito_model_download_speed_bytes_per_second"] == 0


@pytest.mark.parametrize("path", ["/v1/models", "/tokenize", "/v1/completions", "/version"])
def test_nobody_asks_without_a_key(server: Server, path: str) -> None:
    """vLLM's own check leaves out what is not below /v1."""
    for key in ("", "sk-another"):
        assert server.get(path, key).status == 401
    assert server.get("/health", key="").status == 200


def test_with_the_key_the_model_answers(server: Server) -> None:
    assert server.get("/v1/models").document["data"][0]["id"] == "tiny"
    answer = server.post(COMPLETIONS, request(8))
    assert (answer.status, answer.whole) == (200, True)


def test_too_much_is_refused_with_429_and_when_to_come_again(server: Server) -> None:
    """As many as are worked on wait; streams count until they end."""
    body = request(tokens_within(server, 4))
    taken = [server.in_the_background(COMPLETIONS, body) for _ in range(2 * AT_ONCE)]
    until(lambda: counted(server, "running") == counted(server, "waiting") == AT_ONCE)
    refused = server.post(COMPLETIONS, request(1))
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.document["error"]["code"] == "rate_limit_exceeded"
    assert server.get("/v1/models").status == 200
    assert [(each.result().status, each.result().whole) for each in taken] == [(200, True)] * 4
    assert server.metrics()["kaito_ratelimit_rejected_total"] == 1
    assert server.post(COMPLETIONS, request(1)).status == 200


def test_a_stream_that_runs_when_the_server_is_told_to_end_ends_first(server: Server) -> None:
    """And the exit code is 0. The last, since the server is gone after it."""
    tokens = tokens_within(server, 8)
    running = server.in_the_background(COMPLETIONS, request(tokens))
    until(lambda: counted(server, "running") == 1)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.get("/health", key="").status == 503)
    refused = server.post(COMPLETIONS, request(1))
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert not running.done()
    answer = running.result(60)
    assert (answer.status, answer.whole) == (200, True)
    assert answer.text.count("data: {") > 0.8 * tokens
    assert server.process.wait(30) == 0
    assert "stopped: no request is in work" in server.log


def test_the_key_is_in_no_line_of_the_log(server: Server) -> None:
    assert KEY not in server.log
