"""What to buy for a claim: every compatible offering, best first. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from apis.kaito.v1beta1.labels import (
    KARPENTER_WORKSPACE_LABEL,
    RAGENGINE_LABEL,
    WORKSPACE_LABEL,
)
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.requirements import Requirements
from cloudproviders.instancetype import InstanceType, Offering
from kube import quantity

CAPACITY_TYPE_ORDER = (
    labels.CAPACITY_RESERVED,
    labels.CAPACITY_SPOT,
    labels.CAPACITY_ON_DEMAND,
)
"""Karpenter's: paid for already, then cheap, then the rest."""

KAITO_LABELS = (WORKSPACE_LABEL, RAGENGINE_LABEL)
"""A claim with one of these is gpu-provisioner's, whatever node class it refers to."""

KAITO_NODE_CLASS = ("kaito.sh", "KaitoNodeClass")

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
    """All that satisfies the claim's requirements and requests, in the order to try them.

    Spot precedes on-demand, as with Karpenter, unless the claim says which it wants. KAITO's claims
    never say, and gpu-provisioner never served them by spot: who asked it for a model server does
    not expect to lose it at 30 seconds' notice. Those get spot only by a requirement for it.
    """
    return [choice for choice in compatible(claim, types) if choice.offering.available]


def compatible(claim: NodeClaim, types: Iterable[InstanceType]) -> list[Choice]:
    """The same, with what is sold out: what the claim could have if there were any."""
    wanted = Requirements.of(claim.spec.requirements)
    no_spot = kaitos(claim) and labels.CAPACITY_TYPE_LABEL not in wanted
    found = [
        Choice(instance_type, offering)
        for instance_type in types
        if fits(requests(claim), instance_type.allocatable)
        for offering in instance_type.offerings
        if not (no_spot and offering.capacity_type == labels.CAPACITY_SPOT)
        and _allows(wanted, instance_type.labels_at(offering))
    ]
    return sorted(found, key=_rank)


def kaitos(claim: NodeClaim) -> bool:
    """Whether the claim is of the shape that KAITO writes for gpu-provisioner, or comes from a
    pool of KAITO's, which does not say either what it may be bought as."""
    ref = claim.spec.node_class_ref
    return (ref.group, ref.kind) == KAITO_NODE_CLASS or any(
        label in claim.metadata.labels for label in (*KAITO_LABELS, KARPENTER_WORKSPACE_LABEL)
    )


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


def _allows(wanted: Requirements, offered: Mapping[str, str]) -> bool:
    """Keys that the machine does not define do not matter: the claim gives them to the node.
    `minValues` neither: that is about what a scheduler may choose from, and one is chosen here."""
    return wanted.intersects(Requirements.of_labels(offered))


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
