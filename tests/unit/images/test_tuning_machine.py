"""Processes that work together: one ends, all end, and the first code is the pod's."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tuning import machine
from tuning.arguments import Machine

WAITS = "import time; time.sleep(60)"


def run(program: str, count: int = 2) -> int:
    return machine.run(count, ["-c", program], os.environ, gpu=False)


def test_it_ends_well_where_all_do() -> None:
    assert run("import os; assert os.environ['WORLD_SIZE'] == '2'") == 0


def test_each_knows_which_it_is(tmp_path: Path) -> None:
    program = f"import os, pathlib; pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).touch()"
    assert run(program, 3) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


@pytest.mark.parametrize(("end", "code"), [("exit(71)", 71), ("os.kill(os.getpid(), 9)", 137)])
def test_the_first_failure_ends_the_others(
    monkeypatch: pytest.MonkeyPatch, end: str, code: int
) -> None:
    monkeypatch.setattr(machine, "END_SECONDS", 0.1)
    program = f"import os\nif os.environ['RANK'] == '1': {end}\n{WAITS}"
    began = time.monotonic()
    assert run(program) == code
    assert time.monotonic() - began < 30


def test_sigterm_is_passed_on(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).touch()\n{WAITS}"
    )
    stopped = threading.Thread(
        target=_when, args=(lambda: len(list(tmp_path.iterdir())) == 2, os.getpid())
    )
    stopped.start()
    assert run(program) == 75
    stopped.join()


@pytest.mark.parametrize(
    ("gpu", "asked", "device_map", "count"),
    [(False, 0, None, 1), (False, 2, None, 2), (True, 0, "balanced", 1), (True, 0, {"": 1}, 1)],
)
def test_a_model_laid_over_gpus_by_the_user_is_one_process(
    gpu: bool, asked: int, device_map: object, count: int
) -> None:
    assert machine.processes(Machine(gpu=gpu), asked, device_map) == count


def _when(ready: Callable[[], bool], process: int) -> None:
    deadline = time.monotonic() + 20
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process, signal.SIGTERM)
