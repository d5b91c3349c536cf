"""Pid files name one process, not whoever has its number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localcluster.processes import BOOT_ID, Daemon, ProcessId, StartError, read_pid_file

OWN_STAT = Path("/proc/self/stat")


def _pid_file(directory: Path, stat: str, boot_id: str | None = None) -> Path:
    file = directory / "test.pid"
    file.write_text(f"{stat.strip()}\n{boot_id or BOOT_ID.read_text().strip()}\n")
    return file


def test_a_running_process_is_found_again(tmp_path: Path) -> None:
    found = read_pid_file(_pid_file(tmp_path, OWN_STAT.read_text()))
    assert found == ProcessId.of(os.getpid())


def test_a_recycled_pid_is_a_stranger(tmp_path: Path) -> None:
    fields = OWN_STAT.read_text().split()
    fields[21] = str(int(fields[21]) - 1)  # started earlier than who has the pid now
    assert read_pid_file(_pid_file(tmp_path, " ".join(fields))) is None


def test_after_a_reboot_no_pid_means_anything(tmp_path: Path) -> None:
    assert read_pid_file(_pid_file(tmp_path, OWN_STAT.read_text(), "another-boot")) is None


@pytest.mark.parametrize("content", ["", "1", "nonsense\nboot\nmore"], ids=["empty", "half", "odd"])
def test_a_torn_pid_file_names_nobody(tmp_path: Path, content: str) -> None:
    file = tmp_path / "test.pid"
    file.write_text(content)
    assert read_pid_file(file) is None


def test_a_command_name_with_spaces_and_brackets_is_no_trap(tmp_path: Path) -> None:
    pid, _, rest = OWN_STAT.read_text().partition(" (")
    stat = f"{pid} (a) R (b c) {rest.rpartition(') ')[2]}"
    assert read_pid_file(_pid_file(tmp_path, stat)) == ProcessId.of(os.getpid())


def test_what_has_ended_shows_the_end_of_its_log(tmp_path: Path) -> None:
    daemon = Daemon("etcd", tmp_path, tmp_path)
    daemon.log.write_text("first\nbind: address already in use\n")
    with pytest.raises(StartError, match="address already in use"):
        daemon.require_running()
