"""Detached processes: found again, ended, and never mistaken."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster.processes import Daemon, wait_until

pytestmark = pytest.mark.integration

IGNORES_TERM = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon("test", tmp_path / "run", tmp_path / "logs")


def test_a_later_run_finds_the_process(daemon: Daemon, tmp_path: Path) -> None:
    daemon.start(["sleep", "60"])
    try:
        assert Daemon("test", tmp_path / "run", tmp_path / "logs").process == daemon.process
        assert daemon.process is not None
    finally:
        daemon.stop()
    assert daemon.process is None
    assert not daemon.pid_file.exists()


def test_starting_twice_starts_once(daemon: Daemon) -> None:
    daemon.start(["sleep", "60"])
    try:
        before = daemon.process
        daemon.start(["sleep", "60"])
        assert daemon.process == before
    finally:
        daemon.stop()


def test_a_program_that_will_not_end_is_killed(daemon: Daemon) -> None:
    daemon.start(IGNORES_TERM)
    process = daemon.process
    assert process is not None
    assert wait_until(lambda: "ready" in daemon.log.read_text(), 5)
    daemon.stop(grace_seconds=0.2)
    assert not process.alive


def test_output_and_environment_arrive(daemon: Daemon) -> None:
    daemon.start(["sh", "-c", "echo $GREETING; exec sleep 60"], environment={"GREETING": "hello"})
    try:
        assert wait_until(lambda: "hello" in daemon.log.read_text(), 5)
    finally:
        daemon.stop()


def test_stopping_what_does_not_run_is_no_error(daemon: Daemon) -> None:
    daemon.stop()
