"""What can be bought where: the catalogue, zone by zone, with the reservations of a claim's class.

Compute Engine's advice is asked seldom, and done without where it cannot be had.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from apis.karpenter.v1 import labels
from cloudproviders.catalog import GPU_RESOURCE
from cloudproviders.gcp.compute import Compute, Reservation
from cloudproviders.gcp.errors import GoogleError
from cloudproviders.gcp.nodeclass import Shape
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.selection import Choice
from kube.clock import Clock

SOLD_SECONDS = 12 * 3600.0
RESERVATION_SECONDS = 60.0
RETRY_SECONDS = 10 * 60.0
"""Until advice that failed is asked for again."""

logger = logging.getLogger(__name__)


class Offerings:
    """The catalogue as it stands in a cluster's zones."""

    def __init__(
        self, catalogue: Mapping[str, InstanceType], compute: Compute | None, clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._compute = compute
        self._clock = clock
        self._sold: dict[str, tuple[float, frozenset[str] | None]] = {}
        self._reserved: dict[str, tuple[float, Sequence[Reservation]]] = {}
        self._lock = asyncio.Lock()

    async def types(self, zones: Collection[str], shape: Shape | None) -> list[InstanceType]:
        """Every type with what it is sold for in these zones; `shape`: as a claim of it has it."""
        async with self._lock:
            sold = {zone: await self._sold_in(zone) for zone in zones}
            reserved = await self._reservations(zones, shape.reservations if shape else ())
        found = [_placed(each, sold, reserved) for each in self._catalogue.values()]
        if shape and shape.gpu_partition:
            found = [partitioned(each, shape.gpu_partition) for each in found]
        return [each for each in found if each.offerings]

    def get(self, name: str) -> InstanceType | None:
        return self._catalogue.get(name)

    def reservation(self, choice: Choice, names: Collection[str]) -> str:
        """Of these, the one that the machine is taken from; as `types` has just seen it."""
        _, known = self._reserved.get(choice.offering.zone, (0.0, ()))
        free = {
            each.name
            for each in known
            if each.machine_type == choice.instance_type.name and each.free > 0
        }
        return next((name for name in names if _short(name) in free), "")

    async def _sold_in(self, zone: str) -> frozenset[str] | None:
        """None where nobody could tell."""
        until, known = self._sold.get(zone, (0.0, None))
        now = self._clock.monotonic()
        if self._compute is None or now < until:
            return known
        try:
            known = await self._compute.machine_types(zone)
            self._sold[zone] = (now + SOLD_SECONDS, known)
        except GoogleError as failed:
            logger.warning("machine types of %s cannot be listed: %s", zone, failed)
            self._sold[zone] = (now + RETRY_SECONDS, known)
        return known

    async def _reservations(
        self, zones: Collection[str], names: Collection[str]
    ) -> list[Reservation]:
        """Those of these names; a shared one is `projects/<project>/reservations/<name>`."""
        if not names or self._compute is None:
            return []
        found: list[Reservation] = []
        for zone in zones:
            until, known = self._reserved.get(zone, (0.0, ()))
            now = self._clock.monotonic()
            if now >= until:
                try:
                    known = await self._compute.reservations(zone)
                except GoogleError as failed:
                    logger.warning("reservations in %s cannot be listed: %s", zone, failed)
                self._reserved[zone] = (now + RESERVATION_SECONDS, known)
            found += known
        short = {_short(name) for name in names}
        return [each for each in found if each.name in short]


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def partitioned(machine: InstanceType, size: str) -> InstanceType:
    """With its GPUs cut up (MIG `1g.5gb`: a GPU has seven slices); no node has both."""
    slices = int(size.partition("g.")[0])
    count = str(machine.gpu.count * (7 // slices))
    return replace(machine, capacity={**machine.capacity, GPU_RESOURCE: count})


def _placed(
    machine: InstanceType,
    sold: Mapping[str, frozenset[str] | None],
    reserved: Sequence[Reservation],
) -> InstanceType:
    offered = [
        replace(offering, zone=zone)
        for offering in machine.offerings
        for zone, names in sold.items()
        if names is None or machine.name in names
    ]
    free = [each for each in reserved if each.machine_type == machine.name]
    offered += [
        Offering(
            zone=each.zone,
            capacity_type=labels.CAPACITY_RESERVED,
            price=0.0,
            available=each.free > 0,
        )
        for each in free
    ]
    return replace(machine, offerings=tuple(offered))
