"""Subnets and security groups, by tags, id or name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from apis.karpenter.nodeclasses.ec2 import SecurityGroupSelectorTerm, SubnetSelectorTerm
from cloudproviders.aws import errors, tags
from cloudproviders.aws.coalescing import Remembered
from cloudproviders.aws.sdk import Amazon
from kube.clock import Clock

TTL_SECONDS = 60.0
FULL_SECONDS = 3 * 60.0
"""For so long a subnet without free addresses is not tried again."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """`free` is the number of addresses left when EC2 was asked."""

    id: str
    zone: str
    zone_id: str
    free: int


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    id: str
    name: str


class Network:
    """What selector terms stand for in the account now."""

    def __init__(self, amazon: Amazon, clock: Clock) -> None:
        self._amazon = amazon
        self._clock = clock
        self._subnets = Remembered(self._find_subnets, TTL_SECONDS, clock)
        self._groups = Remembered(self._find_groups, TTL_SECONDS, clock)
        self._full: dict[str, tuple[float, str]] = {}

    async def subnets(self, terms: Iterable[SubnetSelectorTerm]) -> list[Subnet]:
        """Those that any term selects, by zone and id."""
        found: dict[str, Subnet] = {}
        for term in terms:
            query = (("subnet-id", term.id),) if term.id else tags.filters(term.tags)
            found.update({each.id: each for each in await self._subnets(query)})
        return sorted(found.values(), key=lambda each: (each.zone, each.id))

    async def security_groups(
        self, terms: Iterable[SecurityGroupSelectorTerm]
    ) -> list[SecurityGroup]:
        """Those that any term selects, by id."""
        found: dict[str, SecurityGroup] = {}
        for term in terms:
            query = (("group-id", term.id),) if term.id else tags.filters(term.tags)
            query += (("group-name", term.name),) if term.name else ()
            found.update({each.id: each for each in await self._groups(query)})
        return sorted(found.values(), key=lambda each: each.id)

    def mark_full(self, subnet: str, why: str) -> None:
        self._full[subnet] = (self._clock.monotonic() + FULL_SECONDS, why)

    def by_zone(self, subnets: Sequence[Subnet]) -> dict[str, Subnet]:
        """In each zone the subnet with the most free addresses; zones with none are left out."""
        open_ = [each for each in subnets if not self._why_full(each)]
        return {each.zone: each for each in sorted(open_, key=lambda each: (each.free, each.id))}

    def closed(self, subnets: Sequence[Subnet]) -> dict[str, str]:
        """Zones in which no subnet has room, and why."""
        open_ = self.by_zone(subnets)
        return {each.zone: self._why_full(each) for each in subnets if each.zone not in open_}

    async def close(self) -> None:
        await self._subnets.close()
        await self._groups.close()

    def _why_full(self, subnet: Subnet) -> str:
        until, why = self._full.get(subnet.id, (0.0, ""))
        if until > self._clock.monotonic():
            return why
        return "" if subnet.free > 0 else f"subnet {subnet.id} has no free addresses"

    async def _find_subnets(self, query: tags.Filters) -> list[Subnet]:
        wires = await self._all("describe_subnets", "Subnets", query)
        return [
            Subnet(
                wire["SubnetId"],
                wire["AvailabilityZone"],
                wire.get("AvailabilityZoneId", ""),
                wire.get("AvailableIpAddressCount", 0),
            )
            for wire in wires
        ]

    async def _find_groups(self, query: tags.Filters) -> list[SecurityGroup]:
        wires = await self._all("describe_security_groups", "SecurityGroups", query)
        return [SecurityGroup(wire["GroupId"], wire.get("GroupName", "")) for wire in wires]

    async def _all(self, operation: str, key: str, query: tags.Filters) -> list[Any]:
        try:
            return await self._amazon.all(operation, key, Filters=tags.as_filters(query))
        except errors.ServiceError as refused:
            if refused.code in errors.NOT_FOUND:
                return []
            raise
