"""A cloud's `catalog.yaml` as instance types. Pure: text in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import yaml

from apis.gpu import GPU, NO_GPU
from cloudproviders.instancetype import InstanceType, Offering
from kube import quantity

GPU_RESOURCE = "nvidia.com/gpu"


class Catalog(Mapping[str, InstanceType]):
    """Instance types by name; upper and lower case are one, as in KAITO's own tables."""

    def __init__(self, types: Iterable[InstanceType]) -> None:
        self._types = {each.name.casefold(): each for each in types}

    def __getitem__(self, name: str) -> InstanceType:
        return self._types[name.casefold()]

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in self._types.values())

    def __len__(self) -> int:
        return len(self._types)


def parse(text: str) -> Catalog:
    """KeyError, TypeError or ValueError where the text is no catalogue: a packaging fault."""
    document = yaml.safe_load(text)
    defaults = document.get("defaults", {})
    return Catalog(
        _instance_type({**defaults, **entry}, document.get("labels", {}))
        for entry in document["types"]
    )


def _instance_type(entry: Mapping[str, Any], label_fields: Mapping[str, str]) -> InstanceType:
    gpu = _gpu(entry.get("gpu"))
    capacity = _capacity(entry, gpu)
    facts = {
        "name": entry["name"],
        "gpu.count": gpu.count,
        "gpu.model": gpu.model.replace(" ", "-"),
        "gpu.memoryMiB": int(gpu.memory_gib * 1024),
        "gpu.accelerator": (entry.get("gpu") or {}).get("accelerator", ""),
    }
    return InstanceType(
        name=entry["name"],
        gpu=gpu,
        cpus=entry.get("cpus", 0),
        memory_gib=float(entry.get("memoryGiB", 0)),
        architecture=entry.get("architecture", "amd64"),
        offerings=tuple(_offerings(entry.get("offerings", ()))),
        capacity=capacity,
        overhead=_overhead(entry.get("overhead", {}), capacity),
        labels={
            label: str(facts[field])
            for label, field in label_fields.items()
            if gpu.count or not field.startswith("gpu.")
        },
        nvme=entry.get("nvme", False),
    )


def _gpu(entry: Mapping[str, Any] | None) -> GPU:
    if entry is None:
        return NO_GPU
    return GPU(
        count=entry["count"],
        model=entry["model"],
        memory_gib=float(entry["memoryGiB"]),
        compute_capability=entry.get("computeCapability", ""),
    )


def _capacity(entry: Mapping[str, Any], gpu: GPU) -> dict[str, str]:
    found = {"pods": str(entry.get("pods", 110))}
    if cpus := entry.get("cpus"):
        found["cpu"] = str(cpus)
    if memory := entry.get("memoryGiB"):
        found["memory"] = f"{memory}Gi"
    if gpu.count:
        found[entry["gpu"].get("resource", GPU_RESOURCE)] = str(gpu.count)
    return found


def _overhead(entry: Mapping[str, str], capacity: Mapping[str, str]) -> dict[str, str]:
    """Quantities as they stand; `7.5%` is a share of the capacity, in KiB."""
    found: dict[str, str] = {}
    for resource, kept in entry.items():
        if resource not in capacity:
            continue
        if kept.endswith("%"):
            share = quantity.parse(capacity[resource]) * Decimal(kept[:-1]) / 100
            kept = f"{int(share) // 1024}Ki"
        found[resource] = kept
    return found


def _offerings(entries: Iterable[Mapping[str, Any]]) -> Iterator[Offering]:
    for entry in entries:
        for zone in entry.get("zones", [""]):
            yield Offering(zone=zone, capacity_type=entry["capacityType"], price=entry.get("price"))
