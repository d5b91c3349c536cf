"""A server of a tiny model, as the image starts it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "images"))

from tests.engines.transformers.black_box import START_SECONDS, TOKEN, Server, Start, Tiny

HERE = Path(__file__).parent
LOCK = "images/serving/transformers/requirements-cpu.lock"


@pytest.fixture(scope="session")
def python(python_of: Callable[[str], Path]) -> Path:
    return python_of(LOCK)


@pytest.fixture(scope="session")
def tiny(
    tmp_path_factory: pytest.TempPathFactory, python: Path, image_environment: dict[str, str]
) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    script = [str(python), str(HERE / "tiny_llama.py"), str(folder)]
    subprocess.run(script, check=True, env=image_environment, capture_output=True)
    return Tiny(folder, json.loads((folder / "expected.json").read_text()))


@pytest.fixture(scope="session")
def start(
    tmp_path_factory: pytest.TempPathFactory, python: Path, image_environment: dict[str, str]
) -> Iterator[Start]:
    """`start(model, "--flag=value", KEY="value")` returns at once; all end with the session."""
    running: list[subprocess.Popen[str]] = []

    def begin(model: Path, *flags: str, **environment: str) -> Server:
        port, log = _free_port(), tmp_path_factory.mktemp("server") / "log"
        command = [str(python), "-m", "serving.transformers", f"--port={port}"]
        command += ["--served_model_name=tiny", f"--pretrained_model_name_or_path={model}"]
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, *flags],
                env={**image_environment, "KAITO_DEVICE": "cpu", **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )
        running.append(process)
        return Server(process, port, log)

    yield begin
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def server(start: Start, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """With adapters, a token to change them, and room for 8 answers at once."""
    place = tmp_path_factory.mktemp("pod")
    adapters = place / "adapters"
    for name in ("warm", "cold", "half"):
        shutil.copytree(tiny.folder / name, adapters / name)
    (place / "token").write_text(TOKEN)
    made = start(
        tiny.folder / "model",
        "--max-num-seqs=8",
        f"--kaito-adapters-dir={adapters}",
        "--kaito-runtime-adapters",
        KAITO_ADAPTERS_TOKEN_FILE=str(place / "token"),
    )
    made.wait(made.healthy, START_SECONDS)
    return made


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
