"""What a node's device plugin says of its GPUs, beside what its instance type has. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from kube import quantity

RESOURCES = (
    "nvidia.com/gpu",
    "amd.com/gpu",
    "aws.amazon.com/neuron",
    "google.com/tpu",
    "habana.ai/gaudi",
    "gpu.intel.com/i915",
)
"""As the vendors' device plugins name them."""

_PARTITIONED = ("nvidia.com/mig-", "nvidia.com/gpu.shared")
"""A GPU that is cut up (MIG, time-slicing) goes by another name, and in other numbers."""

_SIZE = re.compile(r"\d+GB")


class Shortage(NamedTuple):
    """Fewer of a resource than the machine has."""

    resource: str
    has: int
    wanted: int

    def __str__(self) -> str:
        return f"{self.has} of {self.wanted} {self.resource}"


def shortage(capacity: Mapping[str, str], allocatable: Mapping[str, str]) -> Shortage | None:
    """What the node advertises too few of, by the `capacity` that the cloud told of its type.

    Nothing is short of a type of which nobody told the GPUs, or whose GPUs are cut up.
    """
    for resource in RESOURCES:
        wanted, has = _count(capacity, resource), _count(allocatable, resource)
        if has < wanted and not (resource == "nvidia.com/gpu" and partitioned(allocatable)):
            return Shortage(resource, has, wanted)
    return None


def partitioned(allocatable: Mapping[str, str]) -> bool:
    return any(
        resource.startswith(_PARTITIONED) and quantity.parse(amount) > 0
        for resource, amount in allocatable.items()
    )


def contradicts(product: str, model: str) -> bool:
    """Whether a node's `nvidia.com/gpu.product` ("Tesla-T4") cannot be the catalogue's model.

    Only the words with a figure in them tell models apart ("A100"); sizes are written too
    differently to be compared.
    """
    named = {word for word in _words(model) if re.search(r"\d", word) and not _SIZE.fullmatch(word)}
    return bool(named and product) and not named <= _words(product)


def _words(text: str) -> set[str]:
    return set(re.split(r"[^A-Z0-9]+", text.upper()))


def _count(resources: Mapping[str, str], name: str) -> int:
    return int(quantity.parse(resources.get(name, "0")))
