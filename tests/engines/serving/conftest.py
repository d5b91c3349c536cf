"""A server of an image, as a process: asked over HTTP, read by its log, ended by a signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

KEY = "sk-that-nobody-may-read"
STARTED_SECONDS = 400.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def document(self) -> Any:
        return json.loads(self.text)

    @property
    def whole(self) -> bool:
        """Whether a stream has ended as it should."""
        return self.text.rstrip().endswith("data: [DONE]")


class Server:
    """`with Server(argv, environment, log)`; what it writes goes into the file."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.log_file = log
        self.keys = log.parent / "keys"
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*argv, f"--port={self.port}", "--host=127.0.0.1"],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                start_new_session=True,
            )
        self._pool = ThreadPoolExecutor(32)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def ready(self) -> None:
        end = time.monotonic() + STARTED_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.get("/health", key="").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(self.log)

    def get(self, path: str, key: str = KEY) -> Answer:
        return self._ask(path, None, key)

    def post(self, path: str, body: Mapping[str, Any], key: str = KEY) -> Answer:
        return self._ask(path, body, key)

    def in_the_background(self, path: str, body: Mapping[str, Any]) -> Future[Answer]:
        return self._pool.submit(self.post, path, body)

    def _ask(self, path: str, body: Mapping[str, Any] | None, key: str) -> Answer:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())

    def metrics(self) -> dict[str, float]:
        lines = self.get("/metrics", key="").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)  # with its engine's processes
        self.process.wait()
        self._pool.shutdown()


Start = Callable[[Sequence[str], Mapping[str, str]], Server]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """A server that answers, with the key asked for."""
    running: list[Server] = []

    def begin(argv: Sequence[str], environment: Mapping[str, str]) -> Server:
        folder = tmp_path_factory.mktemp("server")
        keys = folder / "keys"
        keys.mkdir()
        (keys / "first").write_text(f"{KEY}\n")
        told = {**environment, "KAITO_API_KEYS_DIR": str(keys), "TMPDIR": str(folder)}
        running.append(Server(argv, told, folder / "log"))
        running[-1].ready()
        return running[-1]

    yield begin
    for server in running:
        server.end()
