"""Real processes that are killed, and disks that fail: all that was acknowledged is there."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.integration.rag.storage_process import BACKUP, Processes, after, kill
from tests.unit.rag.storage.samples import (
    ONE,
    a_batch,
    a_document,
    eventually,
    found,
    held,
    open_store,
)

SECONDS = 7.0
"""Of killing, for each journal."""


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    running = Processes()
    yield running
    running.close()


@pytest.mark.parametrize("filesystem", ["ext4", "nfs4"])
def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(
    tmp_path: Path, processes: Processes, filesystem: str
) -> None:
    """After each kill the index is what it was after the last operation that was told done, or, as
    a whole, after the one that had begun."""
    store = open_store(tmp_path, filesystem=filesystem)
    store.create("docs", ONE.spec).apply(a_batch(a_document("saved", BACKUP["saved"])))
    store.persist("docs", "backup")
    store.close()
    model, chance, kills, done = dict(BACKUP), random.Random(7), 0, 0
    end = time.monotonic() + SECONDS

    while kills < 10 or time.monotonic() < end:
        kills += 1
        pid = processes.start(
            run="write", directory=str(tmp_path), filesystem=filesystem, seed=kills
        )
        said = processes.lines(chance.randrange(30)) + processes.read_for(chance.uniform(0, 0.005))
        kill(pid)
        said += processes.until_dead()
        begun = [json.loads(line.removeprefix("begin ")) for line in said if line != "done"]
        done += said.count("done")
        for operation in begun[: said.count("done")]:
            model = after(model, operation)
        possible = [model] + [after(model, each) for each in begun[said.count("done") :]]

        store = open_store(tmp_path, filesystem=filesystem)
        there = held(store, "docs") if "docs" in store.names() else {}
        store.close()
        assert there in possible
        assert store.problems == ()
        model = there

    assert done >= kills


@pytest.mark.parametrize("filesystem", ["ext4", "nfs4"])
def test_a_follower_takes_over_within_a_second_of_a_kill(
    tmp_path: Path, processes: Processes, filesystem: str
) -> None:
    pid = processes.start(run="tick", directory=str(tmp_path), filesystem=filesystem, pause=0.0)
    processes.lines(5)
    follower = open_store(tmp_path, filesystem=filesystem, poll=0.2)
    assert not follower.writable

    said = processes.read_for(0.2)
    kill(pid)
    killed = time.monotonic()
    acknowledged = int((said + processes.until_dead())[-1].split()[1])
    assert follower.wait_writable(10)
    took = time.monotonic() - killed

    there = held(follower, "docs")
    assert {f"d{number}" for number in range(acknowledged + 1)} <= set(there)
    follower.get("docs").apply(a_batch(a_document("mine", "mine")))
    assert found(follower, "docs", "mine")[0] == "mine"
    follower.close()
    assert took < 1.0


def test_a_follower_in_another_process_is_half_a_second_behind_at_most(
    tmp_path: Path, processes: Processes
) -> None:
    pid = processes.start(run="tick", directory=str(tmp_path), filesystem="ext4", pause=0.15)
    processes.lines(1)
    follower = open_store(tmp_path, poll=0.2)
    eventually(lambda: "docs" in follower.names())
    behind = []
    for _ in range(10):
        acknowledged, number = processes.lines(1)[0].split()
        eventually(lambda at=int(number): follower.get("docs").count()[0] > at)
        behind.append(time.monotonic() - float(acknowledged))
    kill(pid)
    processes.until_dead()
    follower.close()

    assert median(behind) < 0.5


@pytest.mark.parametrize("filesystem", ["ext4", "nfs4"])
@pytest.mark.parametrize(
    ("call", "error"),
    [("sync", "StorageError"), ("write", "StorageError"), ("full", "StorageFullError")],
)
def test_what_the_disk_refused_is_not_acknowledged(
    tmp_path: Path, processes: Processes, filesystem: str, call: str, error: str
) -> None:
    processes.start(run="fail", directory=str(tmp_path), filesystem=filesystem, call=call)

    assert processes.until_dead() == [
        f"refused {error} True",
        "shown 1 ['a']",
        "shown 2 ['a', 'c']",
    ]
    store = open_store(tmp_path, filesystem=filesystem)
    assert set(held(store, "docs")) == {"a", "c"}
    store.close()
