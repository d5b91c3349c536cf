"""Run a rank of vLLM's own launcher for as long as its leader lives.

python -m serving.vllm.follower --leader=NAME --port=29501 COMMAND…

A rank whose leader has gone waits for it for half an hour, and a leader that has come back waits
for ranks that start anew. So the rank keeps a connection to the port at which the leader gathers
all ranks (torch's store), and ends when that is closed.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

_RETRY_SECONDS = 2.0
_END_SECONDS = 20.0
"""For the command to end by itself; then it is killed."""
_KEEPALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 6}
"""A node that died says nothing: 40 seconds of silence are the end, too."""


@dataclass(frozen=True, slots=True)
class Follower:
    """Whom to follow, and what to do meanwhile."""

    leader: str
    port: int
    seconds: float
    """How long the leader may take to come: its image and weights come when they come."""
    command: tuple[str, ...]


def parse(arguments: Sequence[str]) -> Follower:
    parser = argparse.ArgumentParser(prog="python -m serving.vllm.follower", allow_abbrev=False)
    parser.add_argument("--leader", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--init-timeout", dest="seconds", type=float, default=3600.0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    found = parser.parse_args(list(arguments))
    if not found.command:
        parser.error("a command is missing")
    return Follower(found.leader, found.port, found.seconds, tuple(found.command))


def main(arguments: Sequence[str]) -> int:
    """The command's exit code; 1 where the leader did not come, or went."""
    follower = parse(arguments)
    connection = _meet(follower, time.monotonic() + follower.seconds)
    if connection is None:
        print(f"the leader {follower.leader} did not come in time", file=sys.stderr, flush=True)
        return 1
    with connection, subprocess.Popen(follower.command) as child:
        signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
        gone = threading.Event()
        watch = threading.Thread(target=_watch, args=(connection, child, gone), daemon=True)
        watch.start()
        code = child.wait()
    if gone.is_set():
        print(f"the leader {follower.leader} has gone", file=sys.stderr, flush=True)
        return 1
    return code if code >= 0 else 128 - code


def _meet(follower: Follower, end: float) -> socket.socket | None:
    while True:
        try:
            found = socket.create_connection((follower.leader, follower.port), timeout=5.0)
        except OSError:
            if time.monotonic() >= end:
                return None
            time.sleep(_RETRY_SECONDS)
            continue
        found.settimeout(None)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            found.setsockopt(socket.IPPROTO_TCP, option, value)
        return found


def _watch(
    connection: socket.socket, child: subprocess.Popen[bytes], gone: threading.Event
) -> None:
    """The store says nothing to who asks nothing, so whatever comes is the end."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    if child.poll() is not None:
        return
    gone.set()
    child.terminate()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
