"""VM sizes and the ways to buy them in one region. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.azure.agentpools import zone_number
from cloudproviders.azure.settings import AzureSettings
from cloudproviders.instancetype import InstanceType, Offering

SKU_LABEL = "karpenter.azure.com/sku-name"


class Sizes:
    """The catalogue, as this region and this subscription have it."""

    def __init__(
        self,
        catalogue: Mapping[str, InstanceType],
        prefixes: Sequence[str],
        settings: AzureSettings,
    ) -> None:
        self._prefixes = tuple(each.casefold() for each in prefixes)
        self._settings = settings
        self._known = {
            name.casefold(): self._placed(size, settings.zones) for name, size in catalogue.items()
        }

    def get(self, name: str) -> InstanceType | None:
        return self._known.get(name.casefold())

    def all(self) -> tuple[InstanceType, ...]:
        return tuple(self._known.values())

    def for_claim(self, claim: NodeClaim) -> list[InstanceType]:
        """Those that the claim names, also where the catalogue has them not, as gpu-provisioner
        takes them; in the zones that it names, also where the operator has named none."""
        asked = _asked(claim, labels.INSTANCE_TYPE_LABEL)
        sizes = [*self._known.values()]
        sizes += [
            _unknown(name)
            for name in asked
            if name.casefold() not in self._known and name.casefold().startswith(self._prefixes)
        ]
        prefix = f"{self._settings.location}-"
        zones = [
            zone_number(zone)
            for zone in _asked(claim, labels.ZONE_LABEL)
            if zone.startswith(prefix) and zone_number(zone).isdigit()
        ]
        if not zones or self._settings.zones:
            return sizes
        return [self._placed(size, zones) for size in sizes]

    def _placed(self, size: InstanceType, zones: Sequence[str]) -> InstanceType:
        kinds = {each.capacity_type: each.price for each in size.offerings}
        if size.name in self._settings.reservations:
            kinds[labels.CAPACITY_RESERVED] = kinds.get(labels.CAPACITY_ON_DEMAND)
        places = [f"{self._settings.location}-{zone}" for zone in zones] or [""]
        offerings = tuple(
            Offering(zone=zone, capacity_type=kind, price=price)
            for kind, price in kinds.items()
            for zone in places
        )
        return replace(size, offerings=offerings)


def _unknown(name: str) -> InstanceType:
    """Nothing is known of it but its name: claims that ask for resources never get it."""
    kinds = (labels.CAPACITY_ON_DEMAND, labels.CAPACITY_SPOT)
    return InstanceType(
        name=name,
        offerings=tuple(Offering(zone="", capacity_type=kind) for kind in kinds),
        labels={SKU_LABEL: name},
    )


def _asked(claim: NodeClaim, key: str) -> list[str]:
    return [
        value
        for requirement in claim.spec.requirements
        if requirement.key == key and requirement.operator == "In"
        for value in requirement.values
    ]
