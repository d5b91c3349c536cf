"""The algebra of requirements, against Karpenter's rules and against plain sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeSelectorRequirement
from apis.karpenter.v1.requirements import Requirement, Requirements

UNIVERSE = [str(number) for number in range(-1, 8)] + ["a", "b"]


def requirement(operator: str, *values: str, key: str = "k", least: int | None = None):
    return Requirement(key, operator, values, least)


@pytest.mark.parametrize(
    ("operator", "values", "allowed"),
    [
        ("In", ("a", "3"), {"a", "3"}),
        ("NotIn", ("a", "3"), set(UNIVERSE) - {"a", "3"}),
        ("Exists", (), set(UNIVERSE)),
        ("DoesNotExist", (), set()),
        ("Gt", ("5",), {"6", "7"}),
        ("Gte", ("5",), {"5", "6", "7"}),
        ("Lt", ("1",), {"-1", "0"}),
        ("Lte", ("1",), {"-1", "0", "1"}),
    ],
)
def test_operators(operator: str, values: tuple[str, ...], allowed: set[str]) -> None:
    one = requirement(operator, *values)
    assert {value for value in UNIVERSE if one.has(value)} == allowed


@pytest.mark.parametrize(("operator", "values"), [("Gt", ("x",)), ("Lt", ()), ("Like", ("a",))])
def test_what_is_no_requirement_is_refused(operator: str, values: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"operator|invalid literal"):
        requirement(operator, *values)


requirements = st.one_of(
    st.builds(
        lambda operator, values: requirement(operator, *values),
        st.sampled_from(["In", "NotIn"]),
        st.sets(st.sampled_from(UNIVERSE), min_size=1, max_size=4),
    ),
    st.builds(requirement, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(
        lambda operator, bound: requirement(operator, str(bound)),
        st.sampled_from(["Gt", "Lt", "Gte", "Lte"]),
        st.integers(0, 6),
    ),
)


@given(requirements, requirements)
def test_intersection_allows_what_both_allow(one: Requirement, other: Requirement) -> None:
    both = one.intersection(other)
    assert all(both.has(v) == (one.has(v) and other.has(v)) for v in UNIVERSE)
    assert both == other.intersection(one)


@given(requirements, requirements)
def test_intersects_where_a_value_pleases_both_or_both_accept_absence(
    one: Requirement, other: Requirement
) -> None:
    if any(one.has(value) and other.has(value) for value in UNIVERSE):
        assert one.intersects(other)
    assert one.intersects(other) == other.intersects(one)


@pytest.mark.parametrize(
    ("one", "other", "meets"),
    [
        pytest.param(requirement("In", "a"), requirement("In", "b"), False, id="apart"),
        pytest.param(requirement("In", "a"), requirement("NotIn", "a"), False, id="refused"),
        pytest.param(requirement("NotIn", "a"), requirement("DoesNotExist"), True, id="absence"),
        pytest.param(requirement("In", "a"), requirement("DoesNotExist"), False, id="absent"),
        pytest.param(requirement("Exists"), requirement("DoesNotExist"), False, id="exists"),
        pytest.param(
            requirement("Gt", "3"), requirement("Lt", "4"), False, id="no integer between"
        ),
        pytest.param(requirement("Gt", "3"), requirement("Lt", "5"), True, id="one between"),
        pytest.param(requirement("Gt", "3"), requirement("In", "a"), False, id="no integer"),
    ],
)
def test_intersects(one: Requirement, other: Requirement, meets: bool) -> None:
    assert one.intersects(other) is meets


def test_bounds_that_exclusions_use_up_leave_nothing() -> None:
    between = requirement("Gte", "3").intersection(requirement("Lte", "4"))
    assert not between.intersects(requirement("NotIn", "3", "4").intersection(between))
    assert between.intersects(requirement("NotIn", "3"))


def test_requirements_on_one_key_intersect_and_the_larger_min_values_counts() -> None:
    both = Requirements(
        [requirement("In", "a", "b", least=1), requirement("In", "b", "c", least=2)]
    )
    assert both.get("k") == requirement("In", "b", least=2)
    assert len(both) == 1


def test_legacy_keys_are_normalised() -> None:
    old = Requirement("beta.kubernetes.io/arch", "In", ("amd64",))
    assert old.key == labels.ARCH_LABEL
    assert Requirements([old]).get("beta.kubernetes.io/arch") == old


def test_a_key_that_nobody_mentioned_may_be_anything() -> None:
    assert Requirements().get("k") == requirement("Exists")


def test_of_reads_the_api_type() -> None:
    given_ = NodeSelectorRequirement(key="k", operator="In", values=("a",), min_values=1)
    assert Requirements.of([given_]).get("k") == requirement("In", "a", least=1)


def test_labels_are_what_is_decided() -> None:
    decided = Requirements(
        [
            requirement("In", "a", key="one"),
            requirement("In", "a", "b", key="two"),
            requirement("Exists", key="three"),
        ]
    )
    assert decided.labels() == {"one": "a"}
    assert Requirements.of_labels({"one": "a"}).labels() == {"one": "a"}


@pytest.mark.parametrize(
    ("asked", "compatible"),
    [
        pytest.param(Requirement(labels.ZONE_LABEL, "In", ("z",)), True, id="well-known undefined"),
        pytest.param(requirement("In", "a"), False, id="custom undefined"),
        pytest.param(requirement("Exists"), False, id="custom must exist"),
        pytest.param(requirement("NotIn", "a"), True, id="custom NotIn"),
        pytest.param(requirement("DoesNotExist"), True, id="custom absent"),
        pytest.param(Requirement("gpu", "Gt", ("1",)), True, id="defined and enough"),
        pytest.param(Requirement("gpu", "Gt", ("2",)), False, id="defined, not enough"),
    ],
)
def test_compatible(asked: Requirement, compatible: bool) -> None:
    machine = Requirements([Requirement("gpu", "In", ("2",))])
    assert machine.compatible(Requirements([asked])) is compatible


def test_conflict_names_key_and_values() -> None:
    one = Requirements([requirement("In", "a")])
    other = Requirements([requirement("In", "b")])
    assert one.conflict(other) == "k In [b] is incompatible with k In [a]"
    assert not one.intersects(other)
    assert one.union(other).get("k").empty
