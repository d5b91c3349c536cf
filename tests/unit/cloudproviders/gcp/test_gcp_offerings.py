"""What can be bought where, by the word of an emulated Compute Engine."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import cloudproviders
from cloudproviders.gcp.compute import Compute
from cloudproviders.gcp.nodeclass import of_settings
from cloudproviders.gcp.offerings import RESERVATION_SECONDS, Offerings, partitioned
from cloudproviders.gcp.sdk import anonymous
from cloudproviders.gcp.settings import from_settings
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.selection import Choice
from tests.fakes.clock import FakeClock
from tests.fakes.gke.compute import ComputeServer

A, B = "us-central1-a", "us-central1-b"
LEAST = {"GCP_PROJECT": "my-project", "GCP_LOCATION": "us-central1", "GCP_CLUSTER_NAME": "llm"}
TYPES = cloudproviders.instance_types("gcp")


@pytest.fixture
async def server() -> AsyncIterator[ComputeServer]:
    async with ComputeServer() as server:
        yield server


@pytest.fixture
async def compute(server: ComputeServer) -> AsyncIterator[Compute]:
    settings = from_settings({**LEAST, "GCP_COMPUTE_ENDPOINT": server.url})
    compute = Compute(settings, anonymous)
    yield compute
    await compute.close()


SHAPE = of_settings(from_settings(LEAST))


def sold(types: list[InstanceType], name: str) -> set[tuple[str, str]]:
    """(zone, capacity type) of what is there of a type."""
    return {
        (offering.zone, offering.capacity_type)
        for each in types
        if each.name == name
        for offering in each.offerings
        if offering.available
    }


async def test_without_advice_every_zone_is_tried() -> None:
    found = await Offerings(TYPES, None, FakeClock()).types([A, B], SHAPE)

    assert len(found) == len(TYPES)
    assert sold(found, "g2-standard-4") == {
        (A, "on-demand"),
        (A, "spot"),
        (B, "on-demand"),
        (B, "spot"),
    }


async def test_a_zone_that_does_not_sell_the_machine_is_not_tried(
    server: ComputeServer, compute: Compute
) -> None:
    server.sold[A] = {"g2-standard-4", "e2-medium"}
    server.sold[B] = set()

    found = await Offerings(TYPES, compute, FakeClock()).types([A, B], SHAPE)

    assert [each.name for each in found] == ["g2-standard-4"]
    assert {zone for zone, _ in sold(found, "g2-standard-4")} == {A}


async def test_all_pages_are_read_and_only_once(server: ComputeServer, compute: Compute) -> None:
    offerings = Offerings(TYPES, compute, FakeClock())

    found = await offerings.types([A], SHAPE)
    pages = server.counts["machineTypes"]
    await offerings.types([A], SHAPE)

    assert len(found) == len(TYPES)
    assert pages > 1
    assert server.counts["machineTypes"] == pages


async def test_advice_that_is_not_to_be_had_is_done_without(
    server: ComputeServer, compute: Compute, caplog: pytest.LogCaptureFixture
) -> None:
    server.refusal = (403, "PERMISSION_DENIED", "Required compute.machineTypes.list permission.")
    offerings = Offerings(TYPES, compute, FakeClock())

    with caplog.at_level(logging.WARNING):
        found = await offerings.types([A], SHAPE)
        await offerings.types([A], SHAPE)

    assert len(found) == len(TYPES)
    assert server.counts["machineTypes"] == 1
    assert "compute.machineTypes.list" in caplog.text


async def test_a_reservation_is_offered_to_claims_whose_class_names_it(
    server: ComputeServer, compute: Compute
) -> None:
    server.reserve("mine", B, "a3-highgpu-8g", 2, used=1)
    server.reserve("theirs", A, "a3-highgpu-8g", 2)
    server.reserve("full", A, "g2-standard-4", 1, used=1)
    offerings = Offerings(TYPES, compute, FakeClock())
    named = replace(SHAPE, reservations=("mine", "full"))

    plain = await offerings.types([A, B], SHAPE)
    found = await offerings.types([A, B], named)

    assert not any("reserved" in kind for _, kind in sold(plain, "a3-highgpu-8g"))
    assert (B, "reserved") in sold(found, "a3-highgpu-8g")
    assert (A, "reserved") not in sold(found, "a3-highgpu-8g")
    assert (A, "reserved") not in sold(found, "g2-standard-4")
    machine = Choice(TYPES["a3-highgpu-8g"], Offering(zone=B, capacity_type="reserved"))
    assert offerings.reservation(machine, ("full", "mine")) == "mine"


async def test_what_is_left_of_a_reservation_is_looked_up_again(
    server: ComputeServer, compute: Compute
) -> None:
    clock = FakeClock()
    server.reserve("mine", A, "g2-standard-4", 1, used=1)
    offerings = Offerings(TYPES, compute, clock)
    named = replace(SHAPE, reservations=("mine",))
    await offerings.types([A], named)
    server.reservations[A][0]["specificReservation"]["inUseCount"] = "0"

    assert (A, "reserved") not in sold(await offerings.types([A], named), "g2-standard-4")
    clock.advance(RESERVATION_SECONDS)
    assert (A, "reserved") in sold(await offerings.types([A], named), "g2-standard-4")


@pytest.mark.parametrize(
    ("size", "count"), [("1g.5gb", "14"), ("2g.10gb", "6"), ("3g.20gb", "4"), ("7g.40gb", "2")]
)
def test_gpus_that_are_cut_up_are_more(size: str, count: str) -> None:
    found = partitioned(TYPES["a2-highgpu-2g"], size)

    assert found.capacity["nvidia.com/gpu"] == count
    assert found.allocatable["nvidia.com/gpu"] == count
