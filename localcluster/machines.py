"""Machines as they are written to disk: what was asked for, and how far it came.

A machine's file is written before anything of it exists and removed after everything of it is
gone, so that whoever reads the directory after a crash knows what there may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from localcluster.network import MAX_NODES, SYSTEM_NODE_INDEX

ZONE = "local-a"
IMAGE = "debian-12"
MachineState = Literal["Booting", "Running", "Deleting", "Failed"]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")
_EFFECTS = {"NoSchedule", "PreferNoSchedule", "NoExecute"}


class RefusalError(Exception):
    """The API says no: HTTP status, code for programs, message for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Taint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A taint the node registers with."""

    key: str
    effect: str
    value: str = ""


class Request(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a machine is asked for with. `uid` makes repeating it harmless."""

    instance_type: str
    uid: str
    labels: dict[str, str] = {}
    taints: list[Taint] = []
    annotations: dict[str, str] = {}
    image: str = ""


class Machine(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A machine, on disk and over the wire."""

    name: str
    uid: str
    instance_type: str
    provider_id: str = msgspec.field(name="providerID")
    state: MachineState
    index: int  # of its addresses
    created: datetime
    message: str = ""
    zone: str = ZONE
    image: str = IMAGE
    labels: dict[str, str] = {}
    taints: list[Taint] = []
    annotations: dict[str, str] = {}

    def now(self, state: MachineState, message: str = "") -> Machine:
        return msgspec.structs.replace(self, state=state, message=message)


def new_machine(name: str, request: Request, index: int) -> Machine:
    """A machine that is to boot."""
    return Machine(
        name=name,
        uid=request.uid,
        instance_type=request.instance_type,
        provider_id=f"local:///{name}",
        state="Booting",
        index=index,
        created=datetime.now(UTC).replace(microsecond=0),
        image=request.image or IMAGE,
        labels=request.labels,
        taints=request.taints,
        annotations=request.annotations,
    )


def check(name: str, request: Request) -> None:
    """Refuse what a kubelet would refuse, or what is no file name."""
    problems = []
    if not _NAME.fullmatch(name):
        problems.append(f"name {name!r} is no DNS label")
    if not request.uid:
        problems.append("uid is empty")
    for key, value in request.labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            problems.append(f"label {key}={value} is malformed")
    for taint in request.taints:
        if not _LABEL_KEY.fullmatch(taint.key) or not _LABEL_VALUE.fullmatch(taint.value):
            problems.append(f"taint {taint.key}={taint.value} is malformed")
        if taint.effect not in _EFFECTS:
            problems.append(f"taint {taint.key} has the effect {taint.effect!r}")
    if problems:
        raise RefusalError(422, "InvalidRequest", "; ".join(problems))


def free_index(machines: Iterable[Machine]) -> int:
    """An index that no machine holds, the lowest; the system node has the first."""
    taken = {machine.index for machine in machines}
    for index in range(SYSTEM_NODE_INDEX + 1, MAX_NODES + 1):
        if index not in taken:
            return index
    raise RefusalError(409, "InsufficientCapacity", f"all {MAX_NODES - 1} addresses are taken")


class MachineStore:
    """A directory with one directory a machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def node_directory(self, name: str) -> Path:
        """What the machine's node writes to; it goes before the machine's file does."""
        return self.directory / name / "node"

    def load(self) -> list[Machine]:
        """All machines."""
        return [
            msgspec.json.decode(file.read_bytes(), type=Machine)
            for file in sorted(self.directory.glob("*/machine.json"))
        ]

    def save(self, machine: Machine) -> None:
        directory = self.directory / machine.name
        directory.mkdir(parents=True, exist_ok=True)
        temporary = directory / "machine.json.tmp"
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(machine)))
        temporary.rename(directory / "machine.json")

    def forget(self, name: str) -> None:
        """Remove a machine of which nothing else is left."""
        directory = self.directory / name
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
