"""Which checkpoint is gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tuning import checkpoints
from tuning.checkpoints import Checkpoint


def a_checkpoint(root: Path, step: int, identity: str = "this") -> Checkpoint:
    path = checkpoints.directory(root, step)
    (path / "deep").mkdir(parents=True)
    (path / "weights").write_bytes(b"weights")
    (path / "deep/state").write_bytes(b"state")
    found = Checkpoint(path=path, step=step, identity=identity, eval_loss_before=2.5, seconds=3.0)
    checkpoints.seal(found)
    return found


def latest(root: Path) -> tuple[Checkpoint | None, list[str]]:
    said: list[str] = []
    return checkpoints.latest(root, "this", said.append), said


def test_the_last_one_by_its_number_is_taken(tmp_path: Path) -> None:
    a_checkpoint(tmp_path, 9)
    last = a_checkpoint(tmp_path, 10)
    assert latest(tmp_path) == (last, [])


def test_without_any_it_begins_anew(tmp_path: Path) -> None:
    assert latest(tmp_path / "nowhere") == (None, [])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("deep/state", "deep/state is damaged"),
        (checkpoints.MARKER, "cannot be read"),
    ],
)
def test_a_damaged_one_is_passed_over(tmp_path: Path, harm: str, said: str) -> None:
    before = a_checkpoint(tmp_path, 1)
    damaged = a_checkpoint(tmp_path, 2).path
    (damaged / harm).write_bytes(b"")
    found, told = latest(tmp_path)
    assert found == before
    assert said in told[0]
    assert not damaged.exists()


def test_one_that_was_being_written_is_passed_over(tmp_path: Path) -> None:
    unfinished = a_checkpoint(tmp_path, 2).path
    (unfinished / checkpoints.MARKER).unlink()
    assert latest(tmp_path) == (
        None,
        ["checkpoint-2 is not used: the process ended while it was written"],
    )


def test_one_of_other_work_is_passed_over(tmp_path: Path) -> None:
    a_checkpoint(tmp_path, 2, identity="another")
    found, told = latest(tmp_path)
    assert found is None
    assert "another config, other data" in told[0]


def test_the_identity_is_of_what_the_work_depends_on() -> None:
    one = checkpoints.identity(config={"a": 1, "b": 2}, data="x")
    assert one == checkpoints.identity(config={"b": 2, "a": 1}, data="x")
    assert one != checkpoints.identity(config={"a": 1, "b": 2}, data="y")


def test_sealing_again_changes_what_is_said(tmp_path: Path) -> None:
    first = a_checkpoint(tmp_path, 2)
    checkpoints.seal(replace(first, seconds=9.0))
    assert checkpoints.read(first.path).seconds == 9.0
