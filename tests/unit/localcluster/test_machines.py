"""Machines on disk, and what the API refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localcluster.machines import (
    MachineStore,
    RefusalError,
    Request,
    Taint,
    check,
    free_index,
    new_machine,
)


def _request(**changes: Any) -> Request:
    return Request(**{"instance_type": "local-cpu-2", "uid": "u1", **changes})


def test_a_machine_survives_on_disk(tmp_path: Path) -> None:
    store = MachineStore(tmp_path)
    machine = new_machine("a", _request(taints=[Taint(key="k", effect="NoSchedule")]), index=4)
    store.save(machine.now("Failed", "no disk"))
    assert store.load() == [machine.now("Failed", "no disk")]


def test_a_forgotten_machine_leaves_nothing(tmp_path: Path) -> None:
    store = MachineStore(tmp_path)
    store.save(new_machine("a", _request(), index=2))
    store.forget("a")
    assert store.load() == []
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_was_cut_off_is_not_read(tmp_path: Path) -> None:
    store = MachineStore(tmp_path)
    store.save(new_machine("a", _request(), index=2))
    (tmp_path / "a/machine.json.tmp").write_text('{"name":')
    assert [machine.name for machine in store.load()] == ["a"]


@pytest.mark.parametrize("name", ["", "../up", "Upper", "-a", "a" * 64, "a.b"])
def test_names_that_are_no_dns_labels_are_refused(name: str) -> None:
    with pytest.raises(RefusalError, match="no DNS label"):
        check(name, _request())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(_request(uid=""), "uid is empty", id="uid"),
        pytest.param(_request(labels={"a": "b,c=d"}), "label a=b,c=d", id="label value"),
        pytest.param(_request(labels={"a b": "c"}), "label a b=c", id="label key"),
        pytest.param(_request(taints=[Taint(key="k", effect="Never")]), "'Never'", id="effect"),
    ],
)
def test_what_a_kubelet_would_refuse_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(RefusalError, match=message) as refusal:
        check("a", request_)
    assert refusal.value.status == 422


def test_indexes_are_used_again_and_leave_the_system_nodes_out() -> None:
    machines = [new_machine(f"m{i}", _request(), index=i) for i in (2, 4)]
    assert free_index([]) == 2
    assert free_index(machines) == 3


def test_addresses_run_out() -> None:
    machines = [new_machine(f"m{i}", _request(), index=i) for i in range(2, 255)]
    with pytest.raises(RefusalError) as refusal:
        free_index(machines)
    assert refusal.value.code == "InsufficientCapacity"
