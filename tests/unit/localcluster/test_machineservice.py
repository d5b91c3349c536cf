"""The machines API's behaviour, on nodes that are only remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from localcluster.instancetypes import Faults, InstanceType, InstanceTypes
from localcluster.machines import Machine, MachineStore, RefusalError, Request
from localcluster.machineservice import MachineService
from localcluster.processes import ProcessId, StartError


class Host:
    """The nodes that exist, by name; `broken` makes starts fail."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.starts: list[str] = []
        self.health: dict[str, bool] = {}
        self.broken = ""
        self.forgotten: list[str] = []

    def node_of(self, machine: Machine, _kind: InstanceType) -> Node:
        return Node(self, machine.name)


class Node:
    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._name = name

    @property
    def process(self) -> ProcessId | None:
        return ProcessId(1, 1) if self._name in self._host.running else None

    def start(self) -> None:
        if self._host.broken:
            raise StartError(self._host.broken)
        self._host.starts.append(self._name)
        self._host.running.add(self._name)

    def remove(self) -> None:
        self._host.running.discard(self._name)

    def set_gpu_health(self, healthy: bool) -> None:
        self._host.health[self._name] = healthy


Restart = Callable[[], MachineService]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def restart(tmp_path: Path, host: Host) -> AsyncIterator[Restart]:
    """Starts a daemon on the same disk and the same nodes, as if the last had been killed."""
    services: list[MachineService] = []

    def start() -> MachineService:
        types = InstanceTypes(tmp_path / "types.json")
        store = MachineStore(tmp_path / "machines")
        service = MachineService(store, types, host.node_of, host.forgotten.append)
        service.recover()
        services.append(service)
        return service

    yield start
    for service in services:
        await service.close()


@pytest.fixture
def service(restart: Restart) -> MachineService:
    return restart()


def _request(**changes: Any) -> Request:
    return Request(**{"instance_type": "local-gpu-1", "uid": "u1", **changes})


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it has not come true")


def _state(service: MachineService, name: str) -> str:
    try:
        return service.get(name).state
    except RefusalError as refusal:
        return refusal.code


async def test_a_machine_boots_without_the_caller_waiting(
    service: MachineService, host: Host
) -> None:
    machine, new = service.put("a", _request())
    assert new
    assert machine.state == "Booting"
    assert machine.provider_id == "local:///a"
    await _until(lambda: _state(service, "a") == "Running")
    assert host.running == {"a"}


async def test_asking_again_with_the_same_uid_makes_nothing_new(
    service: MachineService, host: Host
) -> None:
    service.put("a", _request())
    await _until(lambda: _state(service, "a") == "Running")
    again, new = service.put("a", _request())
    assert (again.state, new) == ("Running", False)
    assert host.starts == ["a"]


async def test_a_name_belongs_to_one_uid(service: MachineService) -> None:
    service.put("a", _request())
    with pytest.raises(RefusalError) as refusal:
        service.put("a", _request(uid="u2"))
    assert (refusal.value.status, refusal.value.code) == (409, "NameInUse")


async def test_an_unknown_type_is_refused(service: MachineService) -> None:
    with pytest.raises(RefusalError) as refusal:
        service.put("a", _request(instance_type="local-tpu"))
    assert (refusal.value.status, refusal.value.code) == (422, "UnknownInstanceType")
    assert service.list() == []


async def test_capacity_is_per_type_and_comes_back(service: MachineService) -> None:
    service.change_type("local-gpu-1", Faults(capacity=1))
    service.put("a", _request())
    service.put("other", _request(instance_type="local-cpu-2"))
    with pytest.raises(RefusalError) as refusal:
        service.put("b", _request(uid="u2"))
    assert refusal.value.code == "InsufficientCapacity"
    service.delete("a")
    await _until(lambda: _state(service, "a") == "NotFound")
    service.put("b", _request(uid="u2"))


async def test_a_deleted_machine_is_gone_once_its_node_is(
    service: MachineService, host: Host
) -> None:
    service.put("a", _request())
    await _until(lambda: _state(service, "a") == "Running")
    assert service.delete("a").state == "Deleting"
    assert service.delete("a").state == "Deleting"
    await _until(lambda: _state(service, "a") == "NotFound")
    assert host.running == set()
    assert host.forgotten == ["a"]


async def test_deleting_while_it_boots_leaves_no_node(service: MachineService, host: Host) -> None:
    service.put("a", _request())
    service.delete("a")
    await _until(lambda: _state(service, "a") == "NotFound")
    assert host.running == set()


async def test_deleting_does_not_wait_for_a_long_boot(service: MachineService) -> None:
    service.change_type("local-gpu-1", Faults(boot_seconds=3600))
    service.put("a", _request())
    await asyncio.sleep(0)
    service.delete("a")
    await _until(lambda: _state(service, "a") == "NotFound")


async def test_a_boot_that_fails_says_why(service: MachineService, host: Host) -> None:
    host.broken = "no space left"
    service.put("a", _request())
    await _until(lambda: _state(service, "a") == "Failed")
    assert service.get("a").message == "no space left"


async def test_a_machine_that_dies_is_seen(service: MachineService, host: Host) -> None:
    service.put("a", _request())
    await _until(lambda: _state(service, "a") == "Running")
    host.running.clear()
    assert service.get("a").state == "Failed"
    assert [machine.state for machine in service.list()] == ["Failed"]


async def test_sickness_befalls_machines_that_run(service: MachineService, host: Host) -> None:
    service.put("a", _request())
    await _until(lambda: _state(service, "a") == "Running")
    service.change_type("local-gpu-1", Faults(sick=True))
    assert host.health == {"a": False}


async def test_a_new_daemon_finds_nodes_that_run(restart: Restart, host: Host) -> None:
    first = restart()
    first.put("a", _request())
    await _until(lambda: _state(first, "a") == "Running")
    assert _state(restart(), "a") == "Running"
    assert host.starts == ["a"]


async def test_a_new_daemon_boots_what_was_half_booted(restart: Restart, host: Host) -> None:
    first = restart()
    first.put("a", _request())
    await first.close()  # killed before the boot
    second = restart()
    await _until(lambda: _state(second, "a") == "Running")
    assert host.running == {"a"}


async def test_a_new_daemon_finishes_deletions(restart: Restart, host: Host) -> None:
    first = restart()
    first.put("a", _request())
    await _until(lambda: _state(first, "a") == "Running")
    first.delete("a")
    await first.close()
    host.running.add("a")  # the kill came before the node had ended
    second = restart()
    await _until(lambda: _state(second, "a") == "NotFound")
    assert host.running == set()


async def test_after_a_reboot_machines_boot_again(restart: Restart, host: Host) -> None:
    first = restart()
    first.put("a", _request())
    await _until(lambda: _state(first, "a") == "Running")
    host.running.clear()
    second = restart()
    await _until(lambda: _state(second, "a") == "Running")
    assert host.starts == ["a", "a"]
