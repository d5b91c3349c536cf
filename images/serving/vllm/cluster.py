"""Join the nodes of one model into a Ray cluster: `leader` returns once all are in, `worker` stays.

python -m serving.vllm.cluster leader --ray_cluster_size=2 --ray_port=6379
python -m serving.vllm.cluster worker --ray_address=NAME --ray_port=6379
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

_OBJECTS = f"--object-store-memory={1 << 30}"
"""Small messages alone go by Ray, but it would take a third of the RAM, of /dev/shm that is."""
_RETRY_SECONDS = 5.0
_JOINED_SECONDS = 90.0
"""A `ray start --block` that ran for longer than this had joined: its end is the leader's end."""


@dataclass(frozen=True, slots=True)
class Member:
    """What one node does for the cluster."""

    size: int
    """Nodes that the leader waits for; 0 for a worker."""
    port: int
    leader: str
    """Whom a worker joins; empty for the leader."""
    seconds: float
    """How long the others may take: their images and nodes come when they come."""


def parse(arguments: Sequence[str]) -> Member:
    parser = argparse.ArgumentParser(prog="python -m serving.vllm.cluster", allow_abbrev=False)
    roles = parser.add_subparsers(required=True)
    leader, worker = roles.add_parser("leader"), roles.add_parser("worker")
    leader.add_argument("--ray_cluster_size", dest="size", type=int, required=True)
    worker.add_argument("--ray_address", dest="leader", required=True)
    for role in (leader, worker):
        role.add_argument("--ray_port", dest="port", type=int, default=6379)
        role.add_argument("--ray_init_timeout", dest="seconds", type=float, default=3600.0)
    found = parser.parse_args(list(arguments))
    return Member(
        getattr(found, "size", 0), found.port, getattr(found, "leader", ""), found.seconds
    )


def start_argv(member: Member) -> list[str]:
    """Ray's own command; a worker's stays in the foreground, and ends when the leader is gone."""
    if member.leader:
        address = f"--address={member.leader}:{member.port}"
        return ["ray", "start", address, "--block", _OBJECTS, "--disable-usage-stats"]
    head = ["ray", "start", "--head", f"--port={member.port}"]
    return [*head, _OBJECTS, "--disable-usage-stats"]


def main(arguments: Sequence[str]) -> int:
    member = parse(arguments)
    end = time.monotonic() + member.seconds
    if member.leader:
        return _follow(member, end)
    subprocess.run(start_argv(member), check=True)
    while (alive := _alive(member.port)) < member.size:
        if time.monotonic() >= end:
            print(f"{alive} of {member.size} nodes came in time", file=sys.stderr, flush=True)
            return 1
        time.sleep(_RETRY_SECONDS)
    print(f"all {member.size} nodes are there", flush=True)
    return 0


def _follow(member: Member, end: float) -> int:
    """Join; again while the leader is not up yet, but not once it has been and is gone."""
    while True:
        started = time.monotonic()
        code = subprocess.run(start_argv(member), check=False).returncode
        joined = time.monotonic() - started > _JOINED_SECONDS
        if joined or time.monotonic() >= end:
            return code or 1
        time.sleep(_RETRY_SECONDS)


def _alive(port: int) -> int:
    script = "import ray; ray.init(address='auto'); print(sum(n['Alive'] for n in ray.nodes()))"
    environment = os.environ | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    words = result.stdout.split()
    return int(words[-1]) if words and words[-1].isdigit() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
