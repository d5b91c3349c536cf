"""What the machines API does: starts and ends nodes, and never waits for either.

Every step is written to disk before it is taken. A daemon that is killed at any moment finds
its nodes again, boots what was half booted, and finishes deletions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol

from localcluster import machines
from localcluster.binaries import BinaryError
from localcluster.commands import CommandError
from localcluster.instancetypes import Faults, InstanceType, InstanceTypes
from localcluster.machines import Machine, MachineStore, RefusalError, Request
from localcluster.processes import ProcessId, StartError

log = logging.getLogger(__name__)
_NODE_ERRORS = (StartError, CommandError, BinaryError, OSError)


class Node(Protocol):
    """A machine's node, as the service needs it; every call may be repeated."""

    @property
    def process(self) -> ProcessId | None: ...
    def start(self) -> None: ...
    def remove(self) -> None: ...
    def set_gpu_health(self, healthy: bool) -> None: ...


MakeNode = Callable[[Machine, InstanceType], Node]
ForgetNode = Callable[[str], None]
"""Deletes the Node object of a machine that is gone: what a cloud's controller manager does."""


class MachineService:
    """The machines of one cluster. All methods run on one event loop."""

    def __init__(
        self,
        store: MachineStore,
        types: InstanceTypes,
        make_node: MakeNode,
        forget_node: ForgetNode = lambda _name: None,
    ) -> None:
        self._store = store
        self._forget_node = forget_node
        self._types = types
        self._make_node = make_node
        self._machines: dict[str, Machine] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unwanted: dict[str, asyncio.Event] = {}  # set by `delete`

    def recover(self) -> None:
        """Go on where a daemon before this one stopped."""
        for machine in self._store.load():
            self._machines[machine.name] = machine
            if machine.state == "Deleting":
                self._follow(machine.name, self._delete(machine.name))
            elif machine.state == "Booting":
                self._follow(machine.name, self._boot(machine.name))
            elif machine.state == "Running" and self._node(machine).process is None:
                self._set(machine.now("Booting", "booted again: it was found off"))
                self._follow(machine.name, self._boot(machine.name))

    async def close(self) -> None:
        """Stop following machines; they live on."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def list(self) -> list[Machine]:
        return [self._seen(machine) for machine in self._machines.values()]

    def get(self, name: str) -> Machine:
        machine = self._machines.get(name)
        if machine is None:
            raise RefusalError(404, "NotFound", f"there is no machine {name}")
        return self._seen(machine)

    def put(self, name: str, request: Request) -> tuple[Machine, bool]:
        """The machine of that name and uid, and whether it is new."""
        if known := self._machines.get(name):
            if known.uid == request.uid:
                return self._seen(known), False
            raise RefusalError(409, "NameInUse", f"{name} belongs to {known.uid}")
        machines.check(name, request)
        kind = self._types.get(request.instance_type)
        if kind is None:
            raise RefusalError(
                422, "UnknownInstanceType", f"there is no instance type {request.instance_type}"
            )
        alike = [m for m in self._machines.values() if m.instance_type == kind.name]
        if kind.capacity is not None and len(alike) >= kind.capacity:
            raise RefusalError(
                409, "InsufficientCapacity", f"all {kind.capacity} of {kind.name} are in use"
            )
        machine = machines.new_machine(name, request, machines.free_index(self._machines.values()))
        self._set(machine)
        self._follow(name, self._boot(name))
        return machine, True

    def delete(self, name: str) -> Machine:
        """Start the end of a machine; gone when `get` refuses."""
        machine = self.get(name)
        if machine.state != "Deleting":
            self._set(machine.now("Deleting"))
            self._unwanted.setdefault(name, asyncio.Event()).set()
            self._follow(name, self._delete(name, after=self._tasks.get(name)))
        return self._machines[name]

    def instance_types(self) -> list[InstanceType]:  # type: ignore[valid-type]  # `list` is ours
        return self._types.list()

    def change_type(self, name: str, faults: Faults) -> InstanceType:
        """Change a type's faults; sickness befalls the machines that run, too."""
        if self._types.get(name) is None:
            raise RefusalError(404, "NotFound", f"there is no instance type {name}")
        kind = self._types.change(name, faults)
        for machine in self._machines.values():
            if machine.instance_type == name and machine.state == "Running":
                self._make_node(machine, kind).set_gpu_health(not kind.sick)
        return kind

    def _seen(self, machine: Machine) -> Machine:
        """As it is now: a machine may have died since it was written down."""
        if machine.state == "Running" and self._node(machine).process is None:
            return machine.now("Failed", "the machine is off")
        return machine

    def _node(self, machine: Machine) -> Node:
        kind = self._types.get(machine.instance_type)
        if kind is None:
            raise RefusalError(500, "Internal", f"{machine.instance_type} is no type any more")
        return self._make_node(machine, kind)

    def _set(self, machine: Machine) -> None:
        self._store.save(machine)
        self._machines[machine.name] = machine

    def _follow(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.create_task(work, name=name)

    async def _boot(self, name: str) -> None:
        machine = self._machines[name]
        if await self._unwanted_within(name, self._boot_seconds_left(machine)):
            return
        try:
            await asyncio.to_thread(self._node(machine).start)
        except _NODE_ERRORS as error:
            log.warning("%s has not booted: %s", name, error)
            state: machines.MachineState = "Failed"
            message = str(error)
        else:
            log.info("%s runs", name)
            state, message = "Running", ""
        if self._machines[name].state == "Booting":
            self._set(machine.now(state, message))

    def _boot_seconds_left(self, machine: Machine) -> float:
        kind = self._types.get(machine.instance_type)
        age = (datetime.now(UTC) - machine.created).total_seconds()
        return max(0.0, (kind.boot_seconds if kind else 0.0) - age)

    async def _unwanted_within(self, name: str, seconds: float) -> bool:
        """Wait for that long; whether the machine was deleted meanwhile."""
        unwanted = self._unwanted.setdefault(name, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                return await unwanted.wait()
        except TimeoutError:
            return unwanted.is_set()

    async def _delete(self, name: str, after: asyncio.Task[None] | None = None) -> None:
        """Wait for a boot under way, then remove everything; repeated until it succeeds."""
        if after is not None:
            await asyncio.wait([after])
        machine = self._machines[name]
        while True:
            try:
                await asyncio.to_thread(self._node(machine).remove)
                await asyncio.to_thread(self._forget_node, name)
                break
            except _NODE_ERRORS as error:
                log.warning("%s is not gone yet: %s", name, error)
                self._set(machine.now("Deleting", str(error)))
                await asyncio.sleep(1)
        self._store.forget(name)
        del self._machines[name], self._tasks[name]
        self._unwanted.pop(name, None)
        log.info("%s is gone", name)
