"""The server seen from outside: a client that knows HTTP alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "a token"
START_SECONDS = 280.0

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tiny:
    """A model, its adapters, and what generate makes of them by name."""

    folder: Path
    expected: dict[str, list[Document]]


class Server:
    """One that runs, on a port of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ask(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status, and the document or the text."""
        with contextlib.closing(self.open(path, body, headers)) as connection:
            answer = connection.getresponse()
            text = answer.read().decode()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def complete(self, prompt: str, model: str = "tiny", **rules: Any) -> Document:
        body = {"model": model, "prompt": prompt, "max_tokens": 24, "temperature": 0, **rules}
        status, found = self.ask("/v1/completions", body)
        assert status == 200, found
        return dict(found)

    def chunks(self, path: str, body: Document) -> Iterator[Document]:
        """Of a stream, until it is at its end; hangs up where it is closed before."""
        with contextlib.closing(self.open(path, {**body, "stream": True})) as connection:
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            for line in answer:
                text = line.decode().strip()
                if text == "data: [DONE]":
                    return
                if text.startswith("data: "):
                    yield json.loads(text.removeprefix("data: "))

    def open(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = None if body is None else json.dumps(body)
        method = "GET" if body is None else "POST"
        connection.request(method, path, content, dict(headers or {}))
        return connection

    def metric(self, name: str) -> float:
        _, text = self.ask("/metrics")
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.partition("{")[0].partition(" ")[0] == name
        )

    def wait(self, until: Callable[[], bool], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def healthy(self) -> bool:
        try:
            return self.ask("/health")[0] == 200
        except OSError:
            return False


Start = Callable[..., Server]
