"""A rank that ends with its leader: real sockets on the loopback address, real processes."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WAITS = (sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()")


@pytest.fixture
def leader() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


def followed(leader: socket.socket, *command: str) -> subprocess.Popen[str]:
    port = leader.getsockname()[1]
    asked = ["--leader=127.0.0.1", f"--port={port}", "--init-timeout=0", *command]
    return subprocess.Popen(
        [sys.executable, "-m", "serving.vllm.follower", *asked],
        env={"PYTHONPATH": f"{ROOT / 'images'}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_rank_ends_when_its_leader_goes(leader: socket.socket) -> None:
    with followed(leader, *WAITS) as rank:
        connection, _ = leader.accept()
        assert rank.stdout is not None
        assert rank.stdout.readline() == "up\n"
        connection.close()
        _, said = rank.communicate(timeout=20)
    assert rank.returncode == 1
    assert said == "the leader 127.0.0.1 has gone\n"


@pytest.mark.parametrize("code", [0, 3])
def test_a_rank_that_ends_by_itself_tells_how(leader: socket.socket, code: int) -> None:
    with followed(leader, sys.executable, "-c", f"raise SystemExit({code})") as rank:
        connection, _ = leader.accept()
        _, said = rank.communicate(timeout=20)
        connection.close()
    assert (rank.returncode, said) == (code, "")


def test_a_signal_goes_to_the_rank(leader: socket.socket) -> None:
    with followed(leader, *WAITS) as rank:
        connection, _ = leader.accept()
        assert rank.stdout is not None
        rank.stdout.readline()
        rank.terminate()
        rank.communicate(timeout=20)
        connection.close()
    assert rank.returncode == 128 + 15


def test_a_leader_that_never_comes(leader: socket.socket) -> None:
    leader.close()
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    result = subprocess.run(
        [sys.executable, "-m", "serving.vllm.follower", "--leader=127.0.0.1", f"--port={port}",
         "--init-timeout=0", "true"],
        env={"PYTHONPATH": f"{ROOT / 'images'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (1, "the leader 127.0.0.1 did not come in time\n")
