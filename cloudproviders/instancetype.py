"""What a cloud sells: instance types and their offerings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from apis.gpu import GPU, NO_GPU
from apis.karpenter.v1 import labels
from kube import quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Offering:
    """One way to buy an instance type. `zone` "" is regional, wherever the cloud likes.

    `price` is US dollars an hour; None where nobody told us. An offering that is not
    `available` is known to exist and known to be sold out.
    """

    zone: str
    capacity_type: str
    price: float | None = None
    available: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """A machine that can be bought. `labels` are the cloud's own words for its properties.

    `cpus` and `memory_gib` are 0 where the source of the catalogue does not tell them.
    `capacity` and `overhead` are Kubernetes resource lists (quantities as strings).
    """

    name: str
    gpu: GPU = NO_GPU
    cpus: int = 0
    memory_gib: float = 0.0
    architecture: str = "amd64"
    offerings: tuple[Offering, ...] = ()
    capacity: Mapping[str, str] = field(default_factory=dict)
    overhead: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    nvme: bool = False

    @property
    def allocatable(self) -> dict[str, str]:
        """Capacity less what kubelet and system keep for themselves; never below zero."""
        left = dict(self.capacity)
        for resource, kept in self.overhead.items():
            if resource in left:
                rest = quantity.parse(left[resource]) - quantity.parse(kept)
                left[resource] = quantity.fmt(max(rest, Decimal(0)))
        return left

    def labels_at(self, offering: Offering) -> dict[str, str]:
        """The labels that a node of this type, bought this way, carries."""
        found = {
            **self.labels,
            labels.INSTANCE_TYPE_LABEL: self.name,
            labels.ARCH_LABEL: self.architecture,
            labels.OS_LABEL: "linux",
            labels.CAPACITY_TYPE_LABEL: offering.capacity_type,
        }
        if offering.zone:
            found[labels.ZONE_LABEL] = offering.zone
        return found
