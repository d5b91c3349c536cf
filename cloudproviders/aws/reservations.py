"""Capacity reservations: machines that are paid for already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apis.karpenter.nodeclasses.ec2 import CapacityReservationSelectorTerm
from cloudproviders.aws import tags
from cloudproviders.aws.coalescing import Remembered
from cloudproviders.aws.sdk import Amazon
from kube.clock import Clock

TTL_SECONDS = 60.0

PRICE_SHARE = 1e-7
"""Karpenter's: a reserved machine costs next to nothing, but the cheaper type is still first."""

CAPACITY_BLOCK = "capacity-block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """`available` machines of one type in one zone."""

    id: str
    instance_type: str
    zone: str
    available: int
    block: bool = False
    """Bought for a time ahead (EC2 Capacity Blocks for ML)."""


class Reservations:
    """What selector terms stand for now."""

    def __init__(self, amazon: Amazon, clock: Clock) -> None:
        self._amazon = amazon
        self._found = Remembered(self._describe, TTL_SECONDS, clock)

    async def find(self, terms: Iterable[CapacityReservationSelectorTerm]) -> list[Reservation]:
        """The active ones that any term selects, by id."""
        found: dict[str, Reservation] = {}
        for term in terms:
            query = (("capacity-reservation-id", term.id),) if term.id else tags.filters(term.tags)
            query += (("owner-id", term.owner_id),) if term.owner_id else ()
            criteria = term.instance_match_criteria
            query += (("instance-match-criteria", criteria),) if criteria else ()
            found.update({each.id: each for each in await self._found(query)})
        return sorted(found.values(), key=lambda each: each.id)

    async def close(self) -> None:
        await self._found.close()

    async def _describe(self, query: tags.Filters) -> list[Reservation]:
        wires = await self._amazon.all(
            "describe_capacity_reservations",
            "CapacityReservations",
            Filters=tags.as_filters((*query, ("state", "active"))),
        )
        return [
            Reservation(
                id=wire["CapacityReservationId"],
                instance_type=wire["InstanceType"],
                zone=wire["AvailabilityZone"],
                available=wire.get("AvailableInstanceCount", 0),
                block=wire.get("ReservationType") == CAPACITY_BLOCK,
            )
            for wire in wires
        ]
