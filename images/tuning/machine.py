"""What there is to compute on, and one process for each GPU.

accelerate does the work between the processes. They are started here rather than by
`accelerate launch`, which answers every end with 1: the exit code tells the Job what to do.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from tuning.arguments import Machine
from tuning.failures import Failure
from tuning.settings import ENV_RANK, ENV_RANKS

END_SECONDS = 20.0
"""For the other processes to end, when one has failed."""
_POLL_SECONDS = 0.2


def found(device: str, *, checking: bool = False) -> Machine:
    """`device` is what the image is for: cpu, gpu, or empty for what is there. Failure where a GPU
    image sees none: on a CPU it would take a hundred times as long, and nobody would know why."""
    if device == "cpu":
        return Machine(gpu=False)
    import torch

    if torch.cuda.is_available():
        return Machine(gpu=True)
    if device == "gpu" and checking:
        return Machine(gpu=True, presumed=True)
    if device == "gpu":
        raise Failure(1, "no GPU is visible; the pod must ask for nvidia.com/gpu")
    return Machine(gpu=False)


def processes(machine: Machine, asked: int, device_map: object) -> int:
    """One for each GPU, if the user does not lay the model over them: `device_map` is then
    something else than auto."""
    if asked:
        return asked
    if not machine.gpu or device_map not in (None, "", "auto"):
        return 1
    import torch

    return max(1, int(torch.cuda.device_count()))


def run(count: int, program: Sequence[str], environment: Mapping[str, str], *, gpu: bool) -> int:
    """The exit code of the first process that fails, 0 where none does. SIGTERM is passed on."""
    shared = {
        **environment,
        ENV_RANKS: str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    if not gpu:
        threads = max(1, len(os.sched_getaffinity(0)) // count)
        shared |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": str(threads)}
    children = [
        subprocess.Popen(
            [sys.executable, *program], env={**shared, ENV_RANK: str(rank), "RANK": str(rank)}
        )
        for rank in range(count)
    ]

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    previous = signal.signal(signal.SIGTERM, pass_on)
    try:
        return _wait(children)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """One that is left alone waits for the others for ever: so it is ended."""
    while True:
        codes = [child.poll() for child in children]
        if failed := [code for code in codes if code]:
            _end(children)
            return failed[0] if failed[0] > 0 else 128 - failed[0]
        if None not in codes:
            return 0
        time.sleep(_POLL_SECONDS)


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + END_SECONDS
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
