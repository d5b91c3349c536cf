"""What to buy for a claim: every compatible offering, best first."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis.gpu import GPU
from cloudproviders import selection
from cloudproviders.instancetype import InstanceType, Offering
from tests.fakes import objects


def a_type(name: str, *offerings: Offering, gpus: int = 0, **given: Any) -> InstanceType:
    capacity = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": str(gpus)}
    return InstanceType(
        name=name,
        gpu=GPU(gpus, "NVIDIA A10" if gpus else "", 24.0 if gpus else 0.0),
        offerings=offerings,
        capacity=capacity,
        overhead={"cpu": "500m"},
        labels={"example.com/gpus": str(gpus)},
        **given,
    )


def on_demand(price: float | None, zone: str = "a", **given: Any) -> Offering:
    return Offering(zone=zone, capacity_type="on-demand", price=price, **given)


def spot(price: float, zone: str = "a") -> Offering:
    return Offering(zone=zone, capacity_type="spot", price=price)


def reserved(zone: str = "a") -> Offering:
    return Offering(zone=zone, capacity_type="reserved", price=9.0)


SMALL = a_type("small", on_demand(1.0), on_demand(1.1, "b"), spot(0.5, "b"))
LARGE = a_type("large", on_demand(4.0), spot(0.4), gpus=2)
HELD = a_type("held", on_demand(9.0), reserved(), gpus=8, architecture="arm64")
ALL = (HELD, SMALL, LARGE)


A_CLOUDS_OWN = {"group": "example.com", "kind": "ExampleNodeClass", "name": "default"}


def chosen(*requirements: dict[str, Any], **resources: str) -> list[tuple[str, str, str]]:
    claim = objects.claim(
        node_class_ref=A_CLOUDS_OWN,
        requirements=list(requirements),
        resources={"requests": {key.replace("_", ".", 1).replace("_", "/"): value
                                for key, value in resources.items()}},
    )  # fmt: skip
    return [
        (each.instance_type.name, each.offering.capacity_type, each.offering.zone)
        for each in selection.choices(claim, ALL)
    ]


def need(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


CAPACITY = "karpenter.sh/capacity-type"
TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"


def test_what_is_paid_for_comes_first_then_what_is_cheap() -> None:
    assert chosen() == [
        ("held", "reserved", "a"),
        ("large", "spot", "a"),
        ("small", "spot", "b"),
        ("small", "on-demand", "a"),
        ("small", "on-demand", "b"),
        ("large", "on-demand", "a"),
        ("held", "on-demand", "a"),
    ]


@pytest.mark.parametrize(
    ("requirements", "names"),
    [
        pytest.param([need(TYPE, "In", "small")], {"small"}, id="In"),
        pytest.param([need(TYPE, "In", "small", "large")], {"small", "large"}, id="In many"),
        pytest.param([need(TYPE, "NotIn", "small")], {"large", "held"}, id="NotIn"),
        pytest.param([need("example.com/gpus", "Gt", "0")], {"large", "held"}, id="Gt"),
        pytest.param([need("example.com/gpus", "Lt", "8")], {"small", "large"}, id="Lt"),
        pytest.param([need("example.com/gpus", "Exists")], {"small", "large", "held"}, id="Exists"),
        pytest.param([need("example.com/gpus", "DoesNotExist")], set(), id="DoesNotExist"),
        pytest.param([need("kubernetes.io/arch", "In", "arm64")], {"held"}, id="architecture"),
        pytest.param([need("beta.kubernetes.io/arch", "In", "arm64")], {"held"}, id="old spelling"),
        pytest.param([need("kubernetes.io/os", "In", "windows")], set(), id="system"),
        pytest.param([need(CAPACITY, "In", "reserved")], {"held"}, id="capacity type"),
        pytest.param([need(ZONE, "In", "b")], {"small"}, id="zone"),
        pytest.param(
            [need(ZONE, "In", "b"), need(TYPE, "In", "large")], set(), id="one type, another zone"
        ),
        pytest.param(
            [need(TYPE, "In", "small", "large"), need(TYPE, "In", "large", "held")],
            {"large"},
            id="two on one key",
        ),
        pytest.param(
            [need("karpenter.sh/nodepool", "In", "kaito")],
            {"small", "large", "held"},
            id="a key that machines do not define",
        ),
    ],
)
def test_requirements_are_honoured(requirements: list[dict[str, Any]], names: set[str]) -> None:
    assert {name for name, _, _ in chosen(*requirements)} == names


@pytest.mark.parametrize(
    ("requests", "names"),
    [
        pytest.param({"nvidia_com_gpu": "1"}, {"large", "held"}, id="a GPU"),
        pytest.param({"nvidia_com_gpu": "4"}, {"held"}, id="four GPUs"),
        pytest.param({"nvidia_com_gpu": "0"}, {"small", "large", "held"}, id="no GPU"),
        pytest.param({"cpu": "7500m"}, {"small", "large", "held"}, id="all that is left"),
        pytest.param({"cpu": "8"}, set(), id="what the system keeps"),
        pytest.param({"memory": "33Gi"}, set(), id="too much memory"),
        pytest.param({"storage": "1024Gi"}, {"small", "large", "held"}, id="a disk"),
        pytest.param({"habana_ai_gaudi": "1"}, set(), id="what nobody has"),
    ],
)
def test_requests_must_fit(requests: dict[str, str], names: set[str]) -> None:
    assert {name for name, _, _ in chosen(**requests)} == names


@pytest.mark.parametrize(
    "kaitos",
    [
        pytest.param({}, id="node class"),
        pytest.param(
            {"node_class_ref": A_CLOUDS_OWN, "labels": {"kaito.sh/workspace": "phi"}}, id="label"
        ),
        pytest.param(
            {"node_class_ref": A_CLOUDS_OWN, "labels": {"kaito.sh/ragengine": "rag"}},
            id="label of the other kind",
        ),
    ],
)
def test_claims_of_kaito_get_spot_only_by_asking(kaitos: dict[str, Any]) -> None:
    def kinds(*requirements: dict[str, Any]) -> set[str]:
        claim = objects.claim(**kaitos, requirements=list(requirements))
        return {each.offering.capacity_type for each in selection.choices(claim, ALL)}

    assert kinds() == {"reserved", "on-demand"}
    assert kinds(need(CAPACITY, "In", "spot")) == {"spot"}
    assert kinds(need(CAPACITY, "Exists")) == {"reserved", "spot", "on-demand"}


def test_min_values_are_no_matter_of_a_single_machine() -> None:
    flexible = [{**need(TYPE, "In", "small", "large"), "minValues": 2}]

    assert {name for name, _, _ in chosen(*flexible)} == {"small", "large"}


def test_what_is_sold_out_is_not_chosen() -> None:
    sold_out = a_type("t", on_demand(1.0, available=False), on_demand(2.0, "b"))

    (choice,) = selection.choices(objects.claim(requirements=[]), [sold_out])

    assert choice.offering.zone == "b"


def test_without_prices_the_smallest_comes_first() -> None:
    types = [
        a_type("g8", on_demand(None), gpus=8),
        a_type("big", on_demand(None), gpus=1, memory_gib=64.0),
        a_type("g1", on_demand(None), gpus=1, memory_gib=32.0),
        a_type("priced", on_demand(500.0), gpus=8),
    ]

    found = selection.choices(objects.claim(requirements=[]), types)

    assert [each.instance_type.name for each in found] == ["priced", "g1", "big", "g8"]


@pytest.mark.parametrize(
    ("requests", "gib"),
    [({"storage": "300Gi"}, 300), ({"storage": "1Ti"}, 1024), ({"storage": "1G"}, 1), ({}, 1024)],
)
def test_the_disk_is_what_the_claim_asks_for(requests: dict[str, str], gib: int) -> None:
    assert selection.disk_gib(objects.claim(resources={"requests": requests})) == gib


def test_labels_of_a_choice() -> None:
    (choice, *_) = selection.choices(objects.claim(requirements=[]), [HELD])

    assert choice.labels == {
        "node.kubernetes.io/instance-type": "held",
        "topology.kubernetes.io/zone": "a",
        "karpenter.sh/capacity-type": "reserved",
        "kubernetes.io/arch": "arm64",
        "kubernetes.io/os": "linux",
        "example.com/gpus": "8",
    }


PRICES = st.one_of(st.none(), st.floats(0.01, 100.0))
OFFERINGS = st.builds(
    Offering,
    zone=st.sampled_from(["a", "b", "c"]),
    capacity_type=st.sampled_from(["reserved", "spot", "on-demand"]),
    price=PRICES,
    available=st.booleans(),
)
TYPES = st.lists(
    st.builds(
        lambda name, gpus, offerings: a_type(name, *offerings, gpus=gpus),
        st.sampled_from(["s", "m", "l"]),
        st.integers(0, 8),
        st.lists(OFFERINGS, max_size=6),
    ),
    max_size=4,
)
WANTED = st.lists(
    st.one_of(
        st.builds(need, st.just(ZONE), st.just("In"), st.sampled_from(["a", "b", "c"])),
        st.builds(need, st.just(CAPACITY), st.just("NotIn"), st.sampled_from(["spot", "reserved"])),
        st.builds(need, st.just("example.com/gpus"), st.sampled_from(["Gt", "Lt"]), st.just("2")),
    ),
    max_size=3,
)


@given(types=TYPES, wanted=WANTED, gpus=st.integers(0, 8))
def test_every_choice_can_be_had_is_asked_for_and_none_is_missing(
    types: list[InstanceType], wanted: list[dict[str, Any]], gpus: int
) -> None:
    claim = objects.claim(
        node_class_ref=A_CLOUDS_OWN,
        requirements=wanted,
        resources={"requests": {"nvidia.com/gpu": str(gpus)}},
    )

    def meets(each: InstanceType, offering: Offering) -> bool:
        has = {ZONE: offering.zone, CAPACITY: offering.capacity_type, "example.com/gpus": ""}
        has["example.com/gpus"] = str(each.gpu.count)
        rules = {
            "In": lambda value, asked: value in asked,
            "NotIn": lambda value, asked: value not in asked,
            "Gt": lambda value, asked: int(value) > int(asked[0]),
            "Lt": lambda value, asked: int(value) < int(asked[0]),
        }
        return all(rules[w["operator"]](has[w["key"]], w["values"]) for w in wanted)

    expected = [
        (each, offering)
        for each in types
        for offering in each.offerings
        if offering.available and each.gpu.count >= gpus and meets(each, offering)
    ]

    found = selection.choices(claim, types)

    assert len(found) == len(expected)
    assert all((choice.instance_type, choice.offering) in expected for choice in found)
    ranks = [
        (
            selection.CAPACITY_TYPE_ORDER.index(choice.offering.capacity_type),
            math.inf if choice.offering.price is None else choice.offering.price,
        )
        for choice in found
    ]
    assert ranks == sorted(ranks)
