"""`python -m serving.benchmark --url URL`: how many tokens a minute a served model does at most.

Runs in a pod of its own once the model serves, so nobody waits for it: load is doubled until more
of it no longer helps. Where others send requests meanwhile it gives way and measures another time.
The result is the container's termination message, which is how the controller gets it.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apis import container
from serving.front import keys

GIVEN_WAY = 75
"""Exit code: others use the model now (EX_TEMPFAIL)."""

_PROMPT_WORDS = 600
_OUTPUT_TOKENS = 128
_STEP_SECONDS = 10.0
_WORTHWHILE = 1.1
"""Twice the load must bring at least a tenth more."""
_TIMEOUT_SECONDS = 120.0
_BUSY = tuple(
    f"{engine}num_requests_{what}"
    for engine in ("vllm:", "kaito_")
    for what in ("running", "waiting")
)


class BusyError(Exception):
    """Somebody else sends requests."""


class RefusedError(Exception):
    """The server answers with an error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request, seen from outside; seconds, and tokens as the server counts them."""

    first_token: float
    elapsed: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """So many requests at a time, for so many seconds."""

    concurrency: int
    seconds: float
    answers: tuple[Answer, ...]

    @property
    def tokens_per_minute(self) -> float:
        tokens = sum(each.input_tokens + each.output_tokens for each in self.answers)
        return 60.0 * tokens / self.seconds if self.seconds else 0.0


class Server:
    """An OpenAI-compatible server, by its URL."""

    def __init__(self, url: str, model: str = "", key: str = "") -> None:
        self._url = url.rstrip("/")
        self._model = model
        self._key = key
        self.first_token: float | None = None
        """Seconds until the first token of the first request: what a start has left to do."""

    def model(self) -> str:
        """The model's served name: the first that the server lists."""
        if not self._model:
            self._model = str(json.loads(self._get("/v1/models"))["data"][0]["id"])
        return self._model

    def version(self) -> str:
        """Of the engine; empty where it does not say."""
        try:
            return str(json.loads(self._get("/version")).get("version", ""))
        except (RefusedError, ValueError):
            return ""

    def requests(self) -> float:
        """How many requests the server has in hand; 0 where it does not count them."""
        try:
            text = self._get(container.METRICS_PATH)
        except RefusedError:
            return 0.0
        lines = (line for line in text.splitlines() if line.startswith(_BUSY))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def ask(self, prompt: str, tokens: int) -> Answer:
        """One streamed completion."""
        body = {
            "model": self.model(),
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        started = time.monotonic()
        first = 0.0
        usage: dict[str, Any] = {}
        with self._open("/v1/completions", json.dumps(body).encode()) as answer:
            for chunk in _chunks(answer):
                if chunk.get("choices") and not first:
                    first = time.monotonic() - started
                usage = chunk.get("usage") or usage
        if self.first_token is None:
            self.first_token = first
        return Answer(
            first,
            time.monotonic() - started,
            int(usage.get("prompt_tokens", 0)),
            int(usage.get("completion_tokens", 0)),
        )

    def _get(self, path: str) -> str:
        with self._open(path) as answer:
            return str(answer.read().decode())

    def _open(self, path: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self._url + path, body, headers)  # noqa: S310
        try:
            return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(f"{path}: {error.code} {error.reason}") from None


def peak(
    server: Server, *, seconds: float = _STEP_SECONDS, most: int = 256, words: int = _PROMPT_WORDS
) -> Step:
    """The step with the most tokens a minute; BusyError where others came in between."""
    best: Step | None = None
    concurrency = 1
    while concurrency <= most:
        if server.requests() > 0:
            raise BusyError
        step = _step(server, concurrency, seconds, words)
        if best is not None and step.tokens_per_minute < _WORTHWHILE * best.tokens_per_minute:
            return max(best, step, key=lambda each: each.tokens_per_minute)
        best = step
        concurrency *= 2
    assert best is not None  # noqa: S101  # `most` is at least 1
    return best


def document(step: Step, version: str) -> dict[str, Any]:
    """The result under upstream's names, and what it was measured with."""
    count = max(1, len(step.answers))
    outputs = sum(each.output_tokens for each in step.answers)
    after_first = sum(each.elapsed - each.first_token for each in step.answers)
    return {
        "vllm_total_tpm": round(step.tokens_per_minute, 2),
        "ttft_avg_ms": round(1000 * sum(each.first_token for each in step.answers) / count, 1),
        "tpot_avg_ms": round(1000 * after_first / max(1, outputs), 2),
        "duration_sec": round(step.seconds, 1),
        "input_tokens": round(sum(each.input_tokens for each in step.answers) / count),
        "output_tokens": round(outputs / count),
        "max_concurrency": step.concurrency,
        "engine_version": version,
    }


def main(arguments: list[str] | None = None, *, say: Callable[[str], None] = print) -> int:
    """0 with a result; GIVEN_WAY where others use the model; 1 where it does not answer."""
    parser = argparse.ArgumentParser(prog="serving.benchmark", allow_abbrev=False)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", default="")
    parser.add_argument("--seconds", type=float, default=_STEP_SECONDS, help="a step")
    parser.add_argument("--most", type=int, default=256, help="requests at a time")
    parser.add_argument("--words", type=int, default=_PROMPT_WORDS, help="of a prompt")
    parser.add_argument("--api-keys-dir", type=Path, default=Path(container.API_KEYS_DIR))
    parser.add_argument("--termination-log", default="/dev/termination-log")
    args = parser.parse_args(arguments)
    server = Server(args.url, args.model, next(iter(keys.texts(args.api_keys_dir)), ""))
    try:
        step = peak(server, seconds=args.seconds, most=max(1, args.most), words=args.words)
        found = document(step, server.version())
        found["first_token_ms"] = round(1000 * (server.first_token or 0.0), 1)
    except BusyError:
        return _end(args.termination_log, "others use the model now", GIVEN_WAY)
    except (RefusedError, OSError, ValueError, LookupError) as error:
        return _end(args.termination_log, f"{type(error).__name__}: {error}", 1)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    say(f"{container.BENCHMARK_RESULT_MARKER} {now} {json.dumps(found)}")
    return _end(args.termination_log, json.dumps(found), 0)


def _step(server: Server, concurrency: int, seconds: float, words: int) -> Step:
    started = time.monotonic()
    answers: list[Answer] = []
    lock = threading.Lock()

    def keep_asking(worker: int) -> None:
        turn = 0
        while time.monotonic() - started < seconds:
            # Each prompt is new, or the server's prefix cache would answer for the model.
            answer = server.ask(_prompt(f"{concurrency}-{worker}-{turn}", words), _OUTPUT_TOKENS)
            turn += 1
            with lock:
                answers.append(answer)

    with ThreadPoolExecutor(concurrency) as pool:
        for done in [pool.submit(keep_asking, worker) for worker in range(concurrency)]:
            done.result()
    return Step(concurrency, time.monotonic() - started, tuple(answers))


def _prompt(seed: str, words: int) -> str:
    return f"{seed}: " + " ".join(f"{seed} word {number}" for number in range(words // 3))


def _chunks(answer: Any) -> Iterator[dict[str, Any]]:
    """The JSON events of a server-sent stream."""
    for line in answer:
        text = line.decode().strip()
        if text.startswith("data:") and not text.endswith("[DONE]"):
            yield json.loads(text.removeprefix("data:"))


def _end(path: str, message: str, code: int) -> int:
    try:
        Path(path).write_text(message[:4000], "utf-8")
    except OSError as error:
        print(f"serving.benchmark: {path}: {error}", file=sys.stderr)
    if code:
        print(f"serving.benchmark: {message}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
