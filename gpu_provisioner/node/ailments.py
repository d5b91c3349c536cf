"""What is wrong with a node, since when, and until when that is put up with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.provider import RepairPolicy
from cloudproviders.repair import ACCELERATORS, PARTITIONS
from kube import quantity
from kube.meta import find_condition
from kube.objects import Node

GPU_CAPACITY = "GPUCapacity"
"""Stands for a node condition where the device plugin offers fewer devices than there are."""


class Ailment(NamedTuple):
    """`kind` and `status` are those of the node condition; `deadline` is when to act."""

    kind: str
    status: str
    since: datetime
    deadline: datetime
    message: str = ""

    def __str__(self) -> str:
        said = f": {self.message}" if self.message else ""
        return f"{self.kind}={self.status} since {self.since:%Y-%m-%dT%H:%M:%SZ}{said}"


def of_conditions(node: Node, policies: Sequence[RepairPolicy]) -> Iterable[Ailment]:
    """One for each policy that the node's conditions meet."""
    for policy in policies:
        condition = find_condition(node.status.conditions, policy.condition_type)
        if condition is None or condition.status != policy.condition_status:
            continue
        since = condition.last_transition_time or node.metadata.creation_timestamp
        if since is not None:
            yield Ailment(
                condition.type,
                condition.status,
                since,
                since + policy.toleration,
                condition.message or condition.reason,
            )


def missing_devices(node: Node, claim: NodeClaim) -> str:
    """Which accelerator the device plugin offers fewer of than the machine has; "" where none.

    A device that falls ill leaves `allocatable` first. One that nobody asked for may be without a
    plugin for good, and partitions (MIG) take the place of whole devices.
    """
    offered = node.status.allocatable
    if any(name.startswith(PARTITIONS) for name in offered):
        return ""
    for name in ACCELERATORS:
        promised = claim.status.capacity.get(name, "0")
        has = min(
            (each.get(name, "0") for each in (node.status.capacity, offered)), key=quantity.parse
        )
        wanted = name in claim.spec.resources.requests or quantity.parse(has) > 0
        if wanted and quantity.parse(has) < quantity.parse(promised):
            return f"{has} of {promised} {name} are left"
    return ""
