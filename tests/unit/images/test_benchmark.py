"""The benchmark against a server whose speed is known."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from serving import benchmark
from serving.benchmark import Answer, Step

_AT_ONCE = 4


class Engine(ThreadingHTTPServer):
    """Answers with 10 + 5 tokens, each request in 20 ms, four at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.slots = threading.Semaphore(_AT_ONCE)
        self.strangers = 0.0
        self.prompts: list[str] = []
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._say(json.dumps({"data": [{"id": "phi"}]}))
        elif self.path == "/version":
            self._say(json.dumps({"version": "0.32.0"}))
        elif self.path == "/metrics":
            self._say(f'vllm:num_requests_running{{model="phi"}} {self.server.strangers}\n')
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.prompts.append(asked["prompt"])
        if self.server.broken:
            self.send_error(500, "engine is dead")
            return
        with self.server.slots:
            time.sleep(0.02)
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        events = [{"choices": [{"text": "x"}]}, {"choices": [], "usage": usage}]
        lines = [f"data: {json.dumps(event)}\n\n" for event in events]
        self._say("".join(lines) + "data: [DONE]\n\n")

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[Engine]:
    server = Engine()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(engine: Engine, tmp_path: Path, *more: str) -> tuple[int, str, list[str]]:
    said: list[str] = []
    log = tmp_path / "termination-log"
    code = benchmark.main(
        [
            "--url",
            engine.url,
            "--seconds",
            "0.2",
            "--words",
            "6",
            f"--termination-log={log}",
            *more,
        ],
        say=said.append,
    )
    return code, log.read_text(), said


def test_the_peak_is_where_more_load_no_longer_helps(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server that does four requests at a time, in a second."""
    tried: list[int] = []

    def step(_server: object, concurrency: int, *_: object) -> Step:
        tried.append(concurrency)
        return Step(concurrency, 1.0, (Answer(0.1, 1.0, 10, 5),) * min(concurrency, _AT_ONCE))

    monkeypatch.setattr(benchmark, "_step", step)
    found = benchmark.peak(benchmark.Server(engine.url))
    assert (found.concurrency, found.tokens_per_minute) == (4, 4 * 15 * 60)
    assert tried == [1, 2, 4, 8]


def test_the_figures_are_left_where_the_controller_reads_them(
    engine: Engine, tmp_path: Path
) -> None:
    code, message, said = run(engine, tmp_path, "--most", "4")
    found = json.loads(message)
    assert code == 0
    assert found["vllm_total_tpm"] > 0
    assert (found["input_tokens"], found["output_tokens"]) == (10, 5)
    assert found["engine_version"] == "0.32.0"
    assert said[0].startswith("KAITO_BENCHMARK_RESULT 20")
    assert json.loads(said[0].split(" ", 2)[2]) == found


def test_no_prompt_is_sent_twice(engine: Engine, tmp_path: Path) -> None:
    run(engine, tmp_path, "--most", "2")
    assert len(engine.prompts) == len(set(engine.prompts)) > 5


def test_it_gives_way_to_others(engine: Engine, tmp_path: Path) -> None:
    engine.strangers = 1.0
    code, message, said = run(engine, tmp_path)
    assert (code, message) == (benchmark.GIVEN_WAY, "others use the model now")
    assert engine.prompts == []
    assert said == []


def test_a_server_that_fails_is_told_of(engine: Engine, tmp_path: Path) -> None:
    engine.broken = True
    code, message, _ = run(engine, tmp_path)
    assert code == 1
    assert "engine is dead" in message


def test_the_figures_are_means_over_requests() -> None:
    step = Step(2, 6.0, (Answer(0.1, 0.6, 10, 5), Answer(0.3, 1.3, 30, 5)))
    assert benchmark.document(step, "v") == {
        "vllm_total_tpm": 500.0,
        "ttft_avg_ms": 200.0,
        "tpot_avg_ms": 150.0,
        "duration_sec": 6.0,
        "input_tokens": 20,
        "output_tokens": 5,
        "max_concurrency": 2,
        "engine_version": "v",
    }
