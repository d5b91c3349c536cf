"""What to buy for a claim: every compatible offering, best first. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.requirements import Requirements
from cloudproviders.instancetype import InstanceType, Offering
from kube import quantity

CAPACITY_TYPE_ORDER = ("reserved", "spot", "on-demand")
"""Karpenter's: paid for already, then cheap, then the rest."""

STORAGE = "storage"
"""The resource by which KAITO's claims tell the size of the disk; no machine advertises it."""

DEFAULT_DISK_GIB = 1024
"""KAITO's own default (`1024Gi`) for a claim that names no size."""


class Choice(NamedTuple):
    """An instance type and the way to buy it."""

    instance_type: InstanceType
    offering: Offering

    @property
    def labels(self) -> dict[str, str]:
        return self.instance_type.labels_at(self.offering)

    def __str__(self) -> str:
        where = f" in {self.offering.zone}" if self.offering.zone else ""
        return f"{self.instance_type.name} ({self.offering.capacity_type}{where})"


def choices(claim: NodeClaim, types: Iterable[InstanceType]) -> list[Choice]:
    """All that satisfies the claim's requirements and requests, in the order to try them."""
    wanted = Requirements.of(claim.spec.requirements)
    found = [
        Choice(instance_type, offering)
        for instance_type in types
        if fits(requests(claim), instance_type.allocatable)
        for offering in instance_type.offerings
        if offering.available and _allows(wanted, instance_type.labels_at(offering))
    ]
    return sorted(found, key=_rank)


def requests(claim: NodeClaim) -> dict[str, str]:
    """What a machine must have room for; the disk is bought with it and never blocks."""
    return {name: asked for name, asked in claim.spec.resources.requests.items() if name != STORAGE}


def disk_gib(claim: NodeClaim) -> int:
    """The size of disk the claim asks for, in GiB, rounded up."""
    asked = claim.spec.resources.requests.get(STORAGE)
    return math.ceil(quantity.gib(asked)) if asked else DEFAULT_DISK_GIB


def fits(asked: Mapping[str, str], available: Mapping[str, str]) -> bool:
    """Whether there is enough of every resource that is asked for in an amount above zero."""
    return all(
        quantity.parse(amount) <= quantity.parse(available.get(name, "0"))
        for name, amount in asked.items()
        if quantity.parse(amount) > 0
    )


def _allows(wanted: Requirements, labels: Mapping[str, str]) -> bool:
    """Keys that the machine does not define do not matter: the claim gives them to the node."""
    return wanted.intersects(Requirements.of_labels(labels))


def _rank(choice: Choice) -> tuple[int, float, int, float, str, str]:
    instance_type, offering = choice
    order = CAPACITY_TYPE_ORDER
    kind = offering.capacity_type
    return (
        order.index(kind) if kind in order else len(order),
        math.inf if offering.price is None else offering.price,
        instance_type.gpu.count,
        instance_type.memory_gib,
        instance_type.name,
        offering.zone,
    )
