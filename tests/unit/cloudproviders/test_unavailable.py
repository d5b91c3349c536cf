"""What a cloud refused lately."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.unavailable import TTL_SECONDS, Scope, UnavailableOfferings
from tests.fakes.clock import FakeClock

SPOT_A = Offering(zone="a", capacity_type="spot")
SPOT_B = Offering(zone="b", capacity_type="spot")
ON_DEMAND_A = Offering(zone="a", capacity_type="on-demand")


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        pytest.param(Scope(), {"x spot a", "x spot b", "x od a", "y spot a"}, id="everything"),
        pytest.param(Scope(instance_type="x"), {"x spot a", "x spot b", "x od a"}, id="a type"),
        pytest.param(Scope(zone="a"), {"x spot a", "x od a", "y spot a"}, id="a zone"),
        pytest.param(
            Scope(capacity_type="spot"), {"x spot a", "x spot b", "y spot a"}, id="a capacity type"
        ),
        pytest.param(
            Scope(instance_type="x", zone="a", capacity_type="spot"), {"x spot a"}, id="one rung"
        ),
    ],
)
def test_a_scope_covers_what_it_does_not_exclude(scope: Scope, covered: set[str]) -> None:
    offerings = {
        "x spot a": ("x", SPOT_A),
        "x spot b": ("x", SPOT_B),
        "x od a": ("x", ON_DEMAND_A),
        "y spot a": ("y", SPOT_A),
    }

    assert {name for name, what in offerings.items() if scope.covers(*what)} == covered


def test_a_refusal_is_believed_for_its_time() -> None:
    clock = FakeClock()
    memory = UnavailableOfferings(clock)
    memory.mark(Scope(instance_type="x"), "stock-out")
    memory.mark(Scope(zone="b"), "quota", ttl=3600)

    clock.advance(TTL_SECONDS - 1)
    assert memory.why("x", SPOT_A) == "stock-out"
    clock.advance(1)
    assert memory.why("x", SPOT_A) == ""
    assert memory.why("x", SPOT_B) == "quota"
    clock.advance(3600)
    assert memory.why("x", SPOT_B) == ""


def test_a_later_refusal_replaces_an_earlier_one() -> None:
    clock = FakeClock()
    memory = UnavailableOfferings(clock)
    memory.mark(Scope(instance_type="x"), "first", ttl=10)
    clock.advance(9)
    memory.mark(Scope(instance_type="x"), "second", ttl=10)
    clock.advance(9)

    assert memory.why("x", SPOT_A) == "second"


def test_a_refusal_without_words_is_one_nevertheless() -> None:
    memory = UnavailableOfferings(FakeClock())
    memory.mark(Scope(instance_type="x"), "")

    assert memory.why("x", SPOT_A)


def test_types_are_shown_with_what_cannot_be_had_marked() -> None:
    memory = UnavailableOfferings(FakeClock())
    memory.mark(Scope(zone="a", capacity_type="spot"), "stock-out")
    given_ = InstanceType(name="x", offerings=(SPOT_A, SPOT_B, ON_DEMAND_A))

    (shown,) = memory.applied([given_])

    assert [offering.available for offering in shown.offerings] == [False, True, True]
    assert [offering.zone for offering in shown.offerings] == ["a", "b", "a"]


TEXT = st.sampled_from(["", "a", "b"])
SCOPES = st.builds(Scope, instance_type=TEXT, zone=TEXT, capacity_type=TEXT)


@given(
    marks=st.lists(st.tuples(SCOPES, st.floats(0, 100), st.floats(1, 100)), max_size=6),
    later=st.floats(0, 200),
)
def test_what_is_remembered_is_what_no_younger_word_and_no_time_has_ended(
    marks: list[tuple[Scope, float, float]], later: float
) -> None:
    clock = FakeClock()
    memory = UnavailableOfferings(clock)
    until: dict[Scope, float] = {}
    for scope, pause, ttl in marks:
        clock.advance(pause)
        memory.mark(scope, "no", ttl=ttl)
        until[scope] = clock.monotonic() + ttl
    clock.advance(later)

    for kind in "ab":
        for zone in "ab":
            for capacity_type in "ab":
                offering = Offering(zone=zone, capacity_type=capacity_type)
                expected = any(
                    scope.covers(kind, offering) and end > clock.monotonic()
                    for scope, end in until.items()
                )
                assert bool(memory.why(kind, offering)) == expected
