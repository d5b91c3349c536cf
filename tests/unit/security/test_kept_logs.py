"""What the kubelet, a machine's end and `down` remove is kept to look through."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
from pathlib import Path

import pytest

from localcluster.paths import State
from tests.e2e.kept_logs import KeptLogs, repeated

POD = "kaito-workspace_workspace-6c4d-h7lbp_9f/workspace"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "cluster")


@pytest.fixture
def kept(state: State, tmp_path: Path) -> KeptLogs:
    return KeptLogs(state, tmp_path / "kept")


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as log:
        log.write(text)
    return file


def read(kept: KeptLogs) -> dict[str, str]:
    """Without the number that tells one file of a name from the next."""
    texts = kept.texts()
    found = {name.rpartition("#")[0]: text for name, text in texts.items()}
    assert len(found) == len(texts)
    return found


def test_nothing_is_there_before_the_cluster_is(kept: KeptLogs) -> None:
    kept.look()
    assert kept.texts() == {}


def test_every_programs_and_every_pods_log_is_kept(kept: KeptLogs, state: State) -> None:
    """And nothing else: images and volumes hold files of that name, too."""
    machine = state.machines / "ws1/node"
    files = [
        write(state.logs / "machined.log", "a"),
        write(state.control_plane / "logs/etcd.log", "b"),
        write(state.system_node / "logs/kubelet.log", "c"),
        write(state.system_node / "log-pods" / POD / "0.log", "d"),
        write(machine / "logs/containerd.log", "e"),
        write(machine / "log-pods" / POD / "0.log", "f"),
    ]
    write(machine / "containerd/layer/dpkg.log", "x")
    write(machine / "logs/notes.txt", "x")
    kept.look()
    assert read(kept) == {
        str(file.relative_to(state.root)): text for file, text in zip(files, "abcdef", strict=True)
    }


def test_a_log_outlives_its_pod_with_what_was_written_later(kept: KeptLogs, state: State) -> None:
    log = write(state.system_node / "log-pods" / POD / "0.log", "first\n")
    kept.look()
    write(log, "last\n")
    shutil.rmtree(state.root)
    kept.look()
    assert list(kept.texts().values()) == ["first\nlast\n"]
    assert kept.lost == []


def test_each_start_of_a_container_has_its_own(kept: KeptLogs, state: State) -> None:
    """Also under the name of one that is gone."""
    log = state.system_node / "log-pods" / POD / "0.log"
    write(log, "one")
    kept.look()
    log.unlink()
    write(log, "two")
    kept.look()
    assert sorted(kept.texts().values()) == ["one", "two"]


def test_a_rotated_log_is_kept_once_and_read_though_it_is_compressed(
    kept: KeptLogs, state: State
) -> None:
    log = write(state.system_node / "log-pods" / POD / "0.log", "old")
    kept.look()
    log.rename(log.with_name("0.log.20261122-120000"))
    write(log, "new")
    write(log.with_name("0.log.20261122-110000.tmp"), "half")
    packed = log.with_name("0.log.20261122-110000.gz")
    packed.write_bytes(gzip.compress(b"older"))
    kept.look()
    kept.look()
    assert sorted(kept.texts().values()) == ["new", "old", "older"]


def test_what_vanishes_between_two_steps_is_told(
    kept: KeptLogs, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write(state.system_node / "log-pods" / POD / "0.log", "gone")
    link = os.link

    def late(source: str, target: Path) -> None:
        log.rename(log.with_name("0.log.1"))
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    kept.look()
    assert [name.rpartition("/")[2] for name in kept.lost] == ["0.log"]
    monkeypatch.undo()
    kept.look()  # it was only renamed
    assert kept.lost == []
    assert list(kept.texts().values()) == ["gone"]


def test_another_file_in_its_place_is_not_taken_for_it(
    kept: KeptLogs, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write(state.system_node / "log-pods" / POD / "0.log", "old")
    link = os.link

    def rotated(source: str, target: Path) -> None:
        monkeypatch.undo()
        log.rename(log.with_name("0.log.1"))
        write(log, "new")
        link(source, target)

    monkeypatch.setattr(os, "link", rotated)
    kept.look()
    kept.look()
    assert sorted(kept.texts().values()) == ["new", "old"]


def test_it_looks_at_the_beginning_beside_and_at_the_end() -> None:
    looks: list[str] = []
    phase, beside = ["beginning"], threading.Event()

    def look() -> None:
        looks.append(phase[0])
        if phase[0] == "beside":
            beside.set()

    with repeated(look, 0.01):
        phase[0] = "beside"
        assert beside.wait(10)
        phase[0] = "end"
    assert looks[-1] == "end"


def test_what_a_look_raises_is_not_lost() -> None:
    def look() -> None:
        raise PermissionError("no")

    with pytest.raises(PermissionError), repeated(look, 0.01):
        pass
