"""Detached child processes that are found again by a later run, and never mistaken.

A pid alone is no identity: it may have been given to a stranger since. The pid file holds
the process's line of /proc/PID/stat, which carries the time it started, and the boot id.
It is written by the child itself before it becomes the program, so that a run killed at
any moment leaves no process that the next run cannot find.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STARTER = f'cat /proc/$$/stat {BOOT_ID} >"$0.tmp" && mv "$0.tmp" "$0" && exec "$@"'
_START_TIME_FIELD = 19  # of the fields after the command's name, proc(5)


class StartError(Exception):
    """A program ended before it did what it was started for; the message shows its log's end."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A pid together with its start time (clock ticks since boot)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has the pid now; a zombie is none."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return _parse_stat(stat)

    @property
    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal, to nobody else."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def _parse_stat(stat: str) -> ProcessId | None:
    fields = stat.rpartition(")")[2].split()
    if len(fields) <= _START_TIME_FIELD or fields[0] in {"Z", "X"}:
        return None
    return ProcessId(int(stat.split(" ", 1)[0]), int(fields[_START_TIME_FIELD]))


def read_pid_file(path: Path) -> ProcessId | None:
    """The process that the file names if it still runs, else None."""
    try:
        stat, boot_id = path.read_text().splitlines()
    except (FileNotFoundError, ValueError):
        return None
    if boot_id != BOOT_ID.read_text().strip():
        return None
    process = _parse_stat(stat)
    return process if process is not None and process.alive else None


def wait_until(done: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= end:
            return False
        time.sleep(every)
    return True


@dataclass(frozen=True, slots=True)
class Daemon:
    """One program that outlives the command that starts it."""

    name: str
    run: Path
    logs: Path

    @property
    def pid_file(self) -> Path:
        return self.run / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.logs / f"{self.name}.log"

    @property
    def process(self) -> ProcessId | None:
        return read_pid_file(self.pid_file)

    def start(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        with_parent: bool = False,
    ) -> None:
        """Start the program unless it runs; `with_parent` ties its life to this thread's."""
        if self.process is not None:
            return
        self.run.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        tie = ["setpriv", "--pdeathsig", "KILL"] if with_parent else []
        settings = [f"{key}={value}" for key, value in (environment or {}).items()]
        self.pid_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [*tie, "sh", "-c", _STARTER, str(self.pid_file), "env", *settings, *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if not wait_until(lambda: self.pid_file.exists() or child.poll() is not None, 10):
            child.kill()
            raise StartError(f"{self.name} did not start within 10 s")
        _reap()
        _children[child.pid] = child

    def stop(self, grace_seconds: float = 10) -> None:
        """End the program: asked first, then killed. Nothing to do where it does not run."""
        if process := self.process:
            process.signal(signal.SIGTERM)
            if not wait_until(lambda: not process.alive, grace_seconds):
                process.signal(signal.SIGKILL)
                wait_until(lambda: not process.alive, 5)
        self.pid_file.unlink(missing_ok=True)
        _reap()

    def require_running(self) -> None:
        """Raise StartError with the log's last lines where the program has ended."""
        if self.process is None:
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            raise StartError(f"{self.name} has ended; the end of {self.log}:\n" + "\n".join(lines))


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Processes that this very process must reap; those of earlier runs are init's."""


def _reap() -> None:
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]
