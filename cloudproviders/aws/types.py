"""Instance types as they can be had for a source: with zones, labels and drivers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apis.gpu import GPU, NO_GPU
from apis.karpenter.v1 import labels as names
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.requirements import Requirements
from cloudproviders import catalog
from cloudproviders.aws import errors
from cloudproviders.aws.coalescing import Remembered
from cloudproviders.aws.images import ARCHITECTURES, NEURON_RESOURCE
from cloudproviders.aws.reservations import PRICE_SHARE, Reservation
from cloudproviders.aws.sdk import Amazon, Wire
from cloudproviders.aws.source import Source
from cloudproviders.instancetype import InstanceType, Offering
from kube.clock import Clock

TTL_SECONDS = 12 * 60 * 60.0

MANUFACTURER_RESOURCES = {"NVIDIA": catalog.GPU_RESOURCE, "AMD": "amd.com/gpu"}

_NAME = re.compile(r"(?P<family>(?P<category>[a-z]+)(?P<generation>\d*)[^.]*)\.(?P<size>.+)")


class Types:
    """The catalogue, and on demand any type that a claim names."""

    def __init__(self, amazon: Amazon, known: Mapping[str, InstanceType], clock: Clock) -> None:
        self._amazon = amazon
        self._known = {each.name: labelled(each) for each in known.values()}
        self._discovered = Remembered(self._describe, TTL_SECONDS, clock)
        self._sold = Remembered(self._offerings, TTL_SECONDS, clock)
        self._others: dict[str, InstanceType] = {}

    def get(self, name: str) -> InstanceType | None:
        """As far as it is known without asking."""
        return self._known.get(name) or self._others.get(name)

    async def known(self, name: str) -> InstanceType | None:
        """Of a machine that exists."""
        if (found := self.get(name)) is None and (found := await self._discovered(name)):
            self._others[name] = found
        return found

    async def of(self, source: Source, zones: Iterable[str]) -> list[InstanceType]:
        """The catalogue, for a source."""
        return await self._offered(list(self._known.values()), source, set(zones))

    async def for_claim(
        self, claim: NodeClaim, source: Source, zones: Iterable[str]
    ) -> list[InstanceType]:
        """The catalogue, and those that the claim names beside it."""
        open_zones = set(zones)
        found = await self.of(source, open_zones)
        asked = Requirements.of(claim.spec.requirements).get(names.INSTANCE_TYPE_LABEL)
        others = sorted(asked.values - set(self._known)) if asked.operator == "In" else []
        for name in others:
            if (other := await self.known(name)) is not None:
                found += await self._offered([other], source, open_zones)
        return found

    async def close(self) -> None:
        await self._discovered.close()
        await self._sold.close()

    async def _offered(
        self, types: Sequence[InstanceType], source: Source, zones: set[str]
    ) -> list[InstanceType]:
        sold = await self._sold(tuple(sorted(each.name for each in types)))
        return [
            replace(
                each,
                offerings=tuple(
                    offerings(
                        each,
                        sorted(zone for zone in zones if (each.name, zone) in sold),
                        source.reservations,
                    )
                ),
            )
            for each in types
            if any(image.fits(each) for image in source.images)
        ]

    async def _offerings(self, types: tuple[str, ...]) -> frozenset[tuple[str, str]]:
        """Which types are sold in which zones at all."""
        wires = await self._amazon.all(
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": list(types)}],
        )
        return frozenset((wire["InstanceType"], wire["Location"]) for wire in wires)

    async def _describe(self, name: str) -> InstanceType | None:
        try:
            answer = await self._amazon.call("describe_instance_types", InstanceTypes=[name])
        except errors.ServiceError as refused:
            if refused.code in {"InvalidInstanceType", "InvalidParameterValue"}:
                return None
            raise
        return next((of_wire(wire) for wire in answer["InstanceTypes"]), None)


def offerings(
    instance_type: InstanceType, zones: Sequence[str], reservations: Iterable[Reservation]
) -> Iterator[Offering]:
    """In each zone as the catalogue has them; and as reserved. Of a type that is not sold in any
    of these zones: as the catalogue has them, and not available."""
    ways = {each.capacity_type: each.price for each in instance_type.offerings}
    if not zones:
        yield from (replace(each, available=False) for each in instance_type.offerings)
    for zone in zones:
        for capacity_type, price in ways.items():
            yield Offering(zone=zone, capacity_type=capacity_type, price=price)
    free: dict[str, int] = {}
    for each in reservations:
        if each.instance_type == instance_type.name and each.zone in zones:
            free[each.zone] = free.get(each.zone, 0) + each.available
    price = ways.get(names.CAPACITY_ON_DEMAND)
    for zone, count in sorted(free.items()):
        yield Offering(
            zone=zone,
            capacity_type=names.CAPACITY_RESERVED,
            price=None if price is None else price * PRICE_SHARE,
            available=count > 0,
        )


def of_wire(wire: Wire) -> InstanceType:
    """As DescribeInstanceTypes tells it; its price is not known."""
    gpu, resource = _gpu(wire)
    cpus = wire["VCpuInfo"]["DefaultVCpus"]
    memory = wire["MemoryInfo"]["SizeInMiB"]
    architecture = wire["ProcessorInfo"]["SupportedArchitectures"][0]
    capacity = {"pods": "110", "cpu": str(cpus), "memory": f"{memory}Mi"}
    if gpu.count:
        capacity[resource] = str(gpu.count)
    return labelled(
        InstanceType(
            name=wire["InstanceType"],
            gpu=gpu,
            cpus=cpus,
            memory_gib=memory / 1024,
            architecture=ARCHITECTURES.get(architecture, architecture),
            offerings=tuple(
                Offering(zone="", capacity_type=kind)
                for kind in wire.get("SupportedUsageClasses", ())
                if kind in {names.CAPACITY_ON_DEMAND, names.CAPACITY_SPOT}
            ),
            capacity=capacity,
            overhead={"cpu": "200m", "memory": f"{int(memory * 1024 * 0.075)}Ki"},
            nvme=wire.get("InstanceStorageSupported", False),
        )
    )


def _gpu(wire: Wire) -> tuple[GPU, str]:
    """The accelerators, and the resource that their device plugin advertises."""
    for each in wire.get("GpuInfo", {}).get("Gpus", ()):
        maker = each["Manufacturer"]
        model = f"{maker} {each['Name']}"
        return _accelerators(each, model), MANUFACTURER_RESOURCES.get(maker.upper(), "")
    for each in wire.get("NeuronInfo", {}).get("NeuronDevices", ()):
        return _accelerators(each, f"AWS {each['Name']}"), NEURON_RESOURCE
    return NO_GPU, ""


def _accelerators(wire: Mapping[str, Any], model: str) -> GPU:
    memory = wire.get("MemoryInfo", {}).get("SizeInMiB", 0)
    return GPU(count=wire["Count"], model=model, memory_gib=memory / 1024)


def labelled(instance_type: InstanceType) -> InstanceType:
    """With Karpenter's labels for what AWS sells."""
    prefix = "karpenter.k8s.aws/instance"
    found = {f"{prefix}-cpu": str(instance_type.cpus)}
    found[f"{prefix}-memory"] = str(int(instance_type.memory_gib * 1024))
    if parts := _NAME.fullmatch(instance_type.name):
        found |= {f"{prefix}-{part}": value for part, value in parts.groupdict().items() if value}
    if gpu := instance_type.gpu:
        maker, _, model = gpu.model.lower().partition(" ")
        neuron = NEURON_RESOURCE in instance_type.capacity
        kind = f"{prefix}-accelerator" if neuron else f"{prefix}-gpu"
        found |= {
            f"{kind}-name": model.removesuffix(" accelerators").replace(" ", "-"),
            f"{kind}-manufacturer": maker,
            f"{kind}-count": str(gpu.count),
        }
        if not neuron:
            found[f"{prefix}-gpu-memory"] = str(int(gpu.memory_gib * 1024))
    return replace(instance_type, labels={**instance_type.labels, **found})
