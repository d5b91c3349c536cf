"""How large a disk a node class gives its machines, in whichever words its cloud has for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kube import quantity


def disk_gib(spec: Mapping[str, Any]) -> int | None:
    """The largest disk that the spec asks for; None where it leaves that to the cloud."""
    sizes = list(_sizes(spec))
    return max(sizes, default=None)


def _sizes(spec: Mapping[str, Any]) -> Iterable[int]:
    if isinstance(size := spec.get("osDiskSizeGB"), int):  # AKS, which means GiB
        yield size
    for disk in _maps(spec.get("disks")):  # GCE
        if isinstance(size := disk.get("sizeGiB"), int):
            yield size
    for mapping in _maps(spec.get("blockDeviceMappings")):  # EC2
        ebs = mapping.get("ebs")
        if isinstance(ebs, Mapping) and (size := ebs.get("volumeSize")) is not None:
            yield _gib(size)


def _gib(size: Any) -> int:
    try:
        return int(quantity.gib(size))
    except ValueError:
        return 0


def _maps(given: Any) -> list[Mapping[str, Any]]:
    return [each for each in given if isinstance(each, Mapping)] if isinstance(given, list) else []
