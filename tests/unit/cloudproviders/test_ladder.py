"""Rung after rung, until one is granted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import ladder
from cloudproviders.errors import (
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    OfferingRefusedError,
)
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.selection import Choice
from cloudproviders.unavailable import Scope, UnavailableOfferings
from tests.fakes import objects
from tests.fakes.clock import FakeClock


def a_type(name: str, price: float, *, available: bool = True) -> InstanceType:
    return InstanceType(
        name=name,
        offerings=tuple(
            Offering(zone=zone, capacity_type="on-demand", price=price, available=available)
            for zone in ("a", "b")
        ),
        capacity={"cpu": "8"},
    )


TYPES = (a_type("cheap", 1.0), a_type("dear", 2.0))


class Cloud:
    """Refuses what it is told to, with the scope it is told; counts what it is asked."""

    def __init__(self, refusals: dict[str, Exception] | None = None) -> None:
        self.refusals = refusals or {}
        self.asked: list[str] = []
        self.clock = FakeClock()
        self.unavailable = UnavailableOfferings(self.clock)

    async def attempt(self, choice: Choice) -> str:
        rung = f"{choice.instance_type.name}/{choice.offering.zone}"
        self.asked.append(rung)
        for refused, error in self.refusals.items():
            if rung.startswith(refused):
                raise error
        return rung

    async def climb(self, types: tuple[InstanceType, ...] = TYPES) -> str:
        return await ladder.climb(a_claim(), types, self.unavailable, self.attempt)


def a_claim() -> NodeClaim:
    return objects.claim(requirements=[])


def refused(message: str = "sold out", *, ttl: float | None = None, **scope: Any) -> Exception:
    return OfferingRefusedError(message, Scope(**scope), ttl=ttl)


async def test_the_first_rung_that_is_granted_ends_the_climb() -> None:
    cloud = Cloud()

    assert await cloud.climb() == "cheap/a"
    assert cloud.asked == ["cheap/a"]


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        pytest.param({"instance_type": "cheap", "zone": "a"}, ["cheap/a", "cheap/b"], id="zone"),
        pytest.param({"instance_type": "cheap"}, ["cheap/a", "dear/a"], id="type"),
        pytest.param({"zone": "a"}, ["cheap/a", "cheap/b"], id="all of the zone"),
    ],
)
async def test_a_refusal_spares_the_rungs_that_it_covers(
    scope: dict[str, Any], asked: list[str]
) -> None:
    cloud = Cloud({"cheap/a": refused(**scope)})

    await cloud.climb()

    assert cloud.asked == asked


async def test_the_next_claim_does_not_ask_again_until_it_is_forgotten() -> None:
    cloud = Cloud({"cheap": refused(instance_type="cheap", ttl=60)})
    await cloud.climb()

    cloud.asked.clear()
    assert await cloud.climb() == "dear/a"
    assert cloud.asked == ["dear/a"]
    cloud.clock.advance(60)
    cloud.refusals.clear()
    assert await cloud.climb() == "cheap/a"


async def test_every_rung_is_asked_once_even_where_refusals_are_not_remembered() -> None:
    cloud = Cloud({"": refused(ttl=0)})

    with pytest.raises(InsufficientCapacityError):
        await cloud.climb()

    assert cloud.asked == ["cheap/a", "cheap/b", "dear/a", "dear/b"]


async def test_nothing_left_is_told_with_each_reason_once_and_its_rungs() -> None:
    cloud = Cloud(
        {
            "cheap/a": refused("no cheap in a", instance_type="cheap", zone="a"),
            "cheap/b": refused("no quota", instance_type="cheap", zone="b"),
            "dear": refused("no quota", instance_type="dear"),
        }
    )

    with pytest.raises(InsufficientCapacityError) as told:
        await cloud.climb()

    assert str(told.value) == (
        "all requested instance types were unavailable during launch: "
        "no cheap in a [cheap on-demand in a]; "
        "no quota [cheap on-demand in b; dear on-demand in a, b]"
    )


async def test_what_the_cloud_does_not_sell_is_told_and_not_asked_for() -> None:
    cloud = Cloud()

    with pytest.raises(InsufficientCapacityError, match=r"not sold here \[cheap on-demand in a, b"):
        await cloud.climb((a_type("cheap", 1.0, available=False),))

    assert cloud.asked == []


async def test_what_fits_nowhere_is_told() -> None:
    with pytest.raises(InsufficientCapacityError, match="none fits the claim's requirements"):
        await Cloud().climb(())


@pytest.mark.parametrize(
    "error", [CreateError("Quota", "all of it"), CloudUnavailableError("503"), KeyError("bug")]
)
async def test_any_other_failure_ends_the_climb(error: Exception) -> None:
    cloud = Cloud({"cheap": error})

    with pytest.raises(type(error)):
        await cloud.climb()

    assert cloud.asked == ["cheap/a"]
    assert await Cloud().climb() == "cheap/a"


RUNGS = ("cheap/a", "cheap/b", "dear/a", "dear/b")
SCOPES = st.builds(
    Scope,
    instance_type=st.sampled_from(["", "cheap", "dear"]),
    zone=st.sampled_from(["", "a", "b"]),
)


@given(refusing=st.dictionaries(st.sampled_from(RUNGS), SCOPES))
async def test_the_climb_goes_up_and_skips_only_what_a_refusal_covers(
    refusing: dict[str, Scope],
) -> None:
    cloud = Cloud({rung: OfferingRefusedError(rung, scope) for rung, scope in refusing.items()})
    expected: list[str] = []
    granted = ""
    for rung in RUNGS:
        kind, zone = rung.split("/")
        offering = Offering(zone=zone, capacity_type="on-demand")
        if any(refusing[asked].covers(kind, offering) for asked in expected):
            continue
        expected.append(rung)
        if rung not in refusing:
            granted = rung
            break

    try:
        found = await cloud.climb()
    except InsufficientCapacityError:
        found = ""

    assert cloud.asked == expected
    assert found == granted
