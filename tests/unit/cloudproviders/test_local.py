"""Machines of the local cluster: NodeClaim ↔ the machines API's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import cloudproviders
from cloudproviders.errors import (
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    NodeClaimNotFoundError,
    OfferingRefusedError,
)
from cloudproviders.local import errors
from cloudproviders.local.provider import LocalProvider
from cloudproviders.local.sdk import Machine
from tests.fakes import objects


class Machines:
    """The machines API as the contract has it."""

    def __init__(self) -> None:
        self.running: dict[str, Machine] = {}
        self.asked: dict[str, dict[str, Any]] = {}
        self.capacity: dict[str, int] = {}

    async def put(self, name: str, machine: dict[str, Any], /) -> Machine:
        if (existing := self.running.get(name)) is not None:
            if existing.uid != machine["uid"]:
                raise errors.error(409, "NameInUse", f"{name} is another's")
            return existing
        kind = machine["instanceType"]
        if self.capacity.get(kind, 1) == 0:
            raise errors.error(409, "InsufficientCapacity", f"no {kind} left", instance_type=kind)
        self.asked[name] = machine
        self.running[name] = Machine(
            name=name,
            uid=machine["uid"],
            instance_type=kind,
            provider_id=f"local:///{name}",
            state="Booting",
            zone="local-a",
            image="base",
        )
        return self.running[name]

    async def get(self, name: str, /) -> Machine:
        if name not in self.running:
            raise errors.error(404, "NotFound", name)
        return self.running[name]

    async def list(self) -> Sequence[Machine]:
        return list(self.running.values())

    async def delete(self, name: str, /) -> None:
        machine = await self.get(name)
        if machine.state == "Deleting":
            raise AssertionError("asked twice")
        kept = {field: getattr(machine, field) for field in machine.__struct_fields__}
        self.running[name] = Machine(**{**kept, "state": "Deleting"})

    async def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def local(machines: Machines) -> LocalProvider:
    return LocalProvider(machines, cloudproviders.instance_types("local"))


async def test_a_claim_becomes_a_machine_of_its_name(
    local: LocalProvider, machines: Machines
) -> None:
    claim = objects.claim(
        instance_type="local-gpu-1",
        labels={"kaito.sh/workspace": "phi"},
        taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        startupTaints=[{"key": "warm", "effect": "NoExecute"}],
        resources={"requests": {"storage": "1024Gi", "nvidia.com/gpu": "1"}},
    )

    instance = await local.create(claim)

    asked = machines.asked["ws1"]
    assert (asked["instanceType"], asked["uid"]) == ("local-gpu-1", "uid-1")
    assert asked["taints"] == [
        {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
        {"key": "warm", "value": "", "effect": "NoExecute"},
    ]
    assert asked["labels"]["kaito.sh/workspace"] == "phi"
    assert instance.provider_id == "local:///ws1"
    assert (instance.claim_name, instance.claim_uid) == ("ws1", "uid-1")
    assert (instance.zone, instance.capacity_type) == ("local-a", "on-demand")
    assert instance.labels["nvidia.com/gpu.product"] == "NVIDIA-A10"
    assert instance.capacity["nvidia.com/gpu"] == "1"


async def test_the_same_claim_twice_is_one_machine(
    local: LocalProvider, machines: Machines
) -> None:
    claim = objects.claim(instance_type="local-cpu-2")

    assert await local.create(claim) == await local.create(claim)
    assert len(machines.running) == 1


async def test_a_name_that_another_claim_holds_is_told(local: LocalProvider) -> None:
    await local.create(objects.claim(instance_type="local-cpu-2", uid="old"))

    with pytest.raises(CreateError) as told:
        await local.create(objects.claim(instance_type="local-cpu-2", uid="new"))

    assert told.value.reason == "NameInUse"


async def test_the_next_best_type_is_tried(local: LocalProvider, machines: Machines) -> None:
    machines.capacity = {"local-gpu-1": 0}
    both = [
        {
            "key": "node.kubernetes.io/instance-type",
            "operator": "In",
            "values": ["local-gpu-1", "local-gpu-2"],
        }
    ]

    instance = await local.create(objects.claim(requirements=both))

    assert instance.instance_type == "local-gpu-2"


@pytest.mark.parametrize(
    ("instance_type", "why"),
    [
        pytest.param("local-gpu-1", "no local-gpu-1 left", id="sold out"),
        pytest.param("Standard_NC24", "none fits", id="unknown"),
    ],
)
async def test_nothing_that_fits_is_insufficient_capacity(
    local: LocalProvider, machines: Machines, instance_type: str, why: str
) -> None:
    machines.capacity = {"local-gpu-1": 0}

    with pytest.raises(InsufficientCapacityError, match=why):
        await local.create(objects.claim(instance_type=instance_type))

    assert machines.running == {}


async def test_delete_until_not_found(local: LocalProvider, machines: Machines) -> None:
    claim = objects.claim(instance_type="local-cpu-2")
    await local.create(claim)

    await local.delete(claim)
    await local.delete(claim)  # cheap: the API is not asked again
    (instance,) = await local.list()
    assert instance.terminating
    machines.running.clear()

    with pytest.raises(NodeClaimNotFoundError):
        await local.delete(claim)


async def test_the_machine_of_a_former_claim_of_that_name_is_not_deleted(
    local: LocalProvider, machines: Machines
) -> None:
    await local.create(objects.claim(instance_type="local-cpu-2", uid="old"))

    with pytest.raises(NodeClaimNotFoundError):
        await local.delete(objects.claim(instance_type="local-cpu-2", uid="new"))

    assert machines.running["ws1"].state == "Booting"


async def test_get_by_provider_id(local: LocalProvider) -> None:
    made = await local.create(objects.claim(instance_type="local-cpu-2"))

    assert await local.get(made.provider_id) == made
    with pytest.raises(NodeClaimNotFoundError):
        await local.get("local:///other")
    with pytest.raises(NodeClaimNotFoundError):
        await local.get("kwok://ws1")


async def test_machines_that_were_made_for_no_claim_are_not_listed(
    local: LocalProvider, machines: Machines
) -> None:
    await machines.put("by-hand", {"uid": "", "instanceType": "local-cpu-2"})

    assert await local.list() == []


async def test_it_knows_its_types_and_never_drifts(local: LocalProvider) -> None:
    assert len(await local.instance_types()) == 4
    assert await local.is_drifted(objects.claim()) == ""


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NotFound", NodeClaimNotFoundError),
        (409, "InsufficientCapacity", OfferingRefusedError),
        (422, "UnknownInstanceType", OfferingRefusedError),
        (409, "NameInUse", CreateError),
        (422, "InvalidRequest", CreateError),
        (401, "Unauthorized", CloudUnavailableError),
        (429, "TooManyRequests", CloudUnavailableError),
        (400, "BrandNew", CreateError),
        (403, "", CreateError),
        (500, "Internal", CloudUnavailableError),
        (502, "", CloudUnavailableError),
    ],
)
def test_every_code_of_the_api_has_its_meaning(
    status: int, code: str, kind: type[Exception]
) -> None:
    told = errors.error(status, code, "because")

    assert type(told) is kind or isinstance(told, errors.MachinesError)
    assert isinstance(told, kind)
    assert "because" in str(told)
    assert kind is not CreateError or code in str(told)
