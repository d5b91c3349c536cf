"""What a cache of pods costs: time an event, time and memory of the first list.

    python -m benchmarks.informer [PODS] [EVENTS]

5,000 pods of 11 KB by default, served by the fake API server in a process of its own; what is
printed is this process's CPU time and memory alone.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from kube.client import Client
from kube.config import Endpoint
from kube.informer import Informer
from kube.meta import Manifest
from kube.objects import PODS, Pod
from tests.fakes.apiserver import FakeApiServer

TARGET_MICROSECONDS = 40.0
TARGET_MIB = 150.0
NODES = 200


def a_pod(number: int, turn: int = 0) -> Manifest:
    """A pod as large and as full as they are: env, probes, conditions and managedFields."""
    container = _container(number)
    return {
        "metadata": _metadata(number, turn),
        "spec": {
            "nodeName": f"node-{(number + turn) % NODES}",
            "containers": [container, {**container, "name": "sidecar"}],
            "tolerations": [
                {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute"}
                for what in ("not-ready", "unreachable")
            ],
        },
        "status": _status(),
    }


def _metadata(number: int, turn: int) -> Manifest:
    return {
        "name": f"service-{number:05d}-7d9c5b6f4-abcde",
        "namespace": f"team-{number % 50}",
        "labels": {"app": f"service-{number % 300}", "pod-template-hash": "7d9c5b6f4"},
        "annotations": {"example.com/turn": str(turn), "checksum/config": "0" * 64},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": f"service-{number}",
                "uid": f"00000000-0000-0000-0000-{number:012d}",
                "controller": True,
            }
        ],
        "managedFields": [
            {
                "manager": manager,
                "operation": "Update",
                "time": "2026-01-01T00:00:00Z",
                "fieldsV1": {
                    f"f:field-{part}": {f'k:{{"name":"{part}-{n}"}}': {".": {}} for n in range(16)}
                    for part in "abcdef"
                },
            }
            for manager in ("kube-controller-manager", "kubelet")
        ],
    }


def _container(number: int) -> Manifest:
    return {
        "name": "main",
        "image": f"registry.example.com/team/service:{number % 40}",
        "env": [{"name": f"SETTING_{n}", "value": f"value-{n}-{number}"} for n in range(24)],
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": f"v{n}", "mountPath": f"/var/lib/data/{n}"} for n in range(6)],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 10},
        "terminationMessagePath": "/dev/termination-log",
    }


def _status() -> Manifest:
    condition = {"status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {
        "phase": "Running",
        "conditions": [
            {"type": type_, **condition}
            for type_ in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [
            {
                "name": name,
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }
            for name in ("main", "sidecar")
        ],
        "startTime": "2026-01-01T00:00:00Z",
    }


def changed(server: FakeApiServer, number: int, turn: int) -> bytes:
    """The watch event of a pod that moved to another node."""
    stored = server.get(PODS, f"service-{number:05d}-7d9c5b6f4-abcde", f"team-{number % 50}")
    assert stored is not None
    pod = a_pod(number, turn)
    version = str(1_000_000 * turn + number)
    pod["metadata"] |= {"uid": stored["metadata"]["uid"], "resourceVersion": version}
    return msgspec.json.encode({"type": "MODIFIED", "object": pod}) + b"\n"


async def serve(pods: int, events: int) -> None:
    """The server's process: all pods at once, the events when a line arrives on stdin."""
    async with FakeApiServer() as server:
        for number in range(pods):
            server.put(PODS, a_pod(number))
        # Made before they are wanted, so that the watcher is never kept waiting.
        changes = [changed(server, n, turn) for turn in (1, 2) for n in range(min(pods, 1000))]
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for event in range(events):
            server.send_in_streams(changes[event % len(changes)])
            if event % 50 == 0:
                await asyncio.sleep(0)
        await asyncio.to_thread(sys.stdin.readline)


def memory(field: str = "VmRSS") -> float:
    """MiB of this process; VmHWM is the most it ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


async def measure(server: subprocess.Popen[str], pods: int, events: int) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    seen = 0
    done = asyncio.Event()

    def count(_: Pod | None, new: Pod | None) -> None:
        nonlocal seen
        seen += 1
        if seen == events:
            done.set()

    bare = memory()
    async with Client(Endpoint(f"http://127.0.0.1:{port}"), field_manager="bench") as client:
        informer: Informer[Pod] = Informer(
            client, PODS, indexes={"node": lambda pod: [pod.spec.node_name]}
        )
        cpu, wall = time.process_time(), time.monotonic()
        running = asyncio.create_task(informer.run())
        await informer.synced.wait()
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        print(f"pods                {len(informer.store):8d}")
        print(f"first list          {wall:8.2f} s wall, {cpu:.2f} s CPU")
        print(f"memory, bare        {bare:8.1f} MiB")
        informer.subscribe(count)
        cpu = time.process_time()
        server.stdin.write("go\n")
        server.stdin.flush()
        await done.wait()
        cpu = time.process_time() - cpu
        per_event = cpu / events * 1e6
        print(f"an event            {per_event:8.1f} µs CPU   target ≤ {TARGET_MICROSECONDS:.0f}")
        print(f"memory              {memory():8.1f} MiB      target ≤ {TARGET_MIB:.0f}")
        print(f"memory, at most     {memory('VmHWM'):8.1f} MiB")
        running.cancel()


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    pods, events = [*numbers, *(5000, 20000)[len(numbers) :]]
    if "serve" in sys.argv:
        asyncio.run(serve(pods, events))
        return
    command = [sys.executable, "-m", "benchmarks.informer", str(pods), str(events), "serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        asyncio.run(measure(server, pods, events))
        server.terminate()


if __name__ == "__main__":
    main()
