"""The types of machines there are, and their faults, which tests and demonstrations switch on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec
import yaml

CATALOG = Path(__file__).with_name("instance_types.yaml")


class Gpu(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """GPUs that a type's machines advertise."""

    count: int
    model: str
    memory_gib: float = msgspec.field(name="memoryGiB")


class InstanceType(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A type of machine, as the API tells it."""

    name: str
    cpus: int
    memory_gib: float = msgspec.field(name="memoryGiB")
    gpu: Gpu | None = None
    boot_seconds: float = 0  # between the request and the boot
    gpu_seconds: float = 0  # between the boot and the GPUs' arrival at the kubelet
    capacity: int | None = None  # how many may exist; None: as many as there are addresses
    sick: bool = False  # GPUs are reported unhealthy


class Faults(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What may be changed of a type; what is not given stays."""

    boot_seconds: float | msgspec.UnsetType = msgspec.UNSET
    gpu_seconds: float | msgspec.UnsetType = msgspec.UNSET
    capacity: int | msgspec.UnsetType | None = msgspec.UNSET
    sick: bool | msgspec.UnsetType = msgspec.UNSET


class InstanceTypes:
    """The catalog with the changes made to it, which outlive the daemon."""

    def __init__(self, changes: Path) -> None:
        self._file = changes
        self._lock = threading.Lock()
        listed = msgspec.convert(yaml.safe_load(CATALOG.read_text()), list[InstanceType])
        self._types = {item.name: item for item in listed}
        if changes.exists():
            stored = msgspec.json.decode(changes.read_bytes(), type=list[InstanceType])
            self._types.update({item.name: item for item in stored if item.name in self._types})

    def list(self) -> list[InstanceType]:
        return list(self._types.values())

    def get(self, name: str) -> InstanceType | None:
        return self._types.get(name)

    def change(self, name: str, faults: Faults) -> InstanceType:
        """Set what is given; raises KeyError for an unknown type."""
        given: dict[str, Any] = {
            field: value
            for field in Faults.__struct_fields__
            if (value := getattr(faults, field)) is not msgspec.UNSET
        }
        with self._lock:
            changed = msgspec.structs.replace(self._types[name], **given)
            self._types[name] = changed
            temporary = self._file.with_suffix(".tmp")
            temporary.write_bytes(msgspec.json.encode(self.list()))
            temporary.rename(self._file)
        return changed
