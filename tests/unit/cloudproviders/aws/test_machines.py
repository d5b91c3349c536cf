"""Types, images, networks and drift."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloudproviders.aws import drift, images, network, types
from cloudproviders.aws.images import Image
from cloudproviders.aws.instances import Machine
from cloudproviders.aws.reservations import Reservation
from cloudproviders.aws.sdk import Amazon
from cloudproviders.aws.settings import Settings
from tests.fakes.clock import FakeClock
from tests.unit.cloudproviders.aws.facts import a_source, a_spec, a_subnet, a_type


def test_types_carry_karpenters_labels() -> None:
    prefix = "karpenter.k8s.aws/instance-"
    gpu, neuron = a_type("g5.12xlarge").labels, a_type("trn1.2xlarge").labels

    assert {key.removeprefix(prefix): value for key, value in gpu.items()} == {
        "category": "g",
        "family": "g5",
        "generation": "5",
        "size": "12xlarge",
        "cpu": "48",
        "memory": "196608",
        "gpu-name": "a10g",
        "gpu-manufacturer": "nvidia",
        "gpu-count": "4",
        "gpu-memory": "24576",
    }
    assert neuron[f"{prefix}accelerator-name"] == "trainium"
    assert neuron[f"{prefix}accelerator-count"] == "1"


def test_a_reserved_machine_is_sold_where_it_is_reserved() -> None:
    left = Reservation(id="cr-1", instance_type="g5.xlarge", zone="us-east-1a", available=1)
    used = replace(left, id="cr-2", zone="us-east-1b", available=0)
    zones = ["us-east-1a", "us-east-1b"]

    found = list(types.offerings(a_type(), zones, [left, used]))

    ways = {(each.zone[-1], each.capacity_type): each for each in found}
    assert len(ways) == len(found) == 6
    assert ways["a", "reserved"].available
    assert not ways["b", "reserved"].available
    price, listed = ways["a", "reserved"].price, ways["a", "on-demand"].price
    assert price is not None
    assert listed is not None
    assert 0 < price < listed / 1e6


@pytest.mark.parametrize(
    ("name", "variant"),
    [("g5.xlarge", "nvidia"), ("inf2.xlarge", "neuron"), ("g4ad.xlarge", "standard")],
)
def test_a_type_gets_the_drivers_of_its_accelerators(name: str, variant: str) -> None:
    assert images.variant_for(a_type(name)) == variant
    assert Image(id="i", variant=variant).fits(a_type(name))
    assert Image(id="i").fits(a_type(name))
    assert not Image(id="i", architecture="arm64").fits(a_type(name))


@pytest.mark.parametrize(
    ("alias", "parameter"),
    [
        (
            "al2023@latest",
            "/aws/service/eks/optimized-ami/1.33/amazon-linux-2023/x86_64/nvidia/recommended"
            "/image_id",
        ),
        (
            "al2023@v20260101",
            "/aws/service/eks/optimized-ami/1.33/amazon-linux-2023/x86_64/nvidia"
            "/amazon-eks-node-al2023-x86_64-nvidia-1.33-v20260101/image_id",
        ),
        (
            "bottlerocket@latest",
            "/aws/service/bottlerocket/aws-k8s-1.33-nvidia/x86_64/latest/image_id",
        ),
        (
            "bottlerocket@v1.50.0",
            "/aws/service/bottlerocket/aws-k8s-1.33-nvidia/x86_64/1.50.0/image_id",
        ),
    ],
)
def test_an_alias_is_eks_own_parameter(alias: str, parameter: str) -> None:
    assert (parameter, "amd64", "nvidia") in images.parameters(alias, "1.33")


def test_the_family_is_the_classs_or_the_aliass() -> None:
    assert images.family(a_spec()) == "AL2023"
    assert images.family(a_spec(amiFamily="Custom")) == "Custom"
    assert images.family(a_spec(amiSelectorTerms=[{"alias": "bottlerocket@v1"}])) == "Bottlerocket"
    assert images.parameters("al2@latest", "1.33") == []


def test_machines_go_where_addresses_are_left() -> None:
    clock = FakeClock()
    found = network.Network(Amazon(Settings(region="r", cluster="c")), clock)
    subnets = [a_subnet("a", 5, "s1"), a_subnet("a", 9, "s2"), a_subnet("b", 0, "s3")]

    assert {zone: each.id for zone, each in found.by_zone(subnets).items()} == {"us-east-1a": "s2"}
    assert found.closed(subnets) == {"us-east-1b": "subnet s3 has no free addresses"}
    found.mark_full("s2", "so it said")
    assert found.by_zone(subnets)["us-east-1a"].id == "s1"
    found.mark_full("s1", "so it said")
    assert found.closed(subnets)["us-east-1a"] == "so it said"
    clock.advance(network.FULL_SECONDS + 1)
    assert found.by_zone(subnets)["us-east-1a"].id == "s2"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param({}, "", id="as ordered"),
        pytest.param({"image": "ami-0"}, "AMIDrift", id="older image"),
        pytest.param({"security_groups": frozenset({"sg-0"})}, "SecurityGroupDrift", id="groups"),
        pytest.param({"subnet": "subnet-z"}, "SubnetDrift", id="subnet"),
    ],
)
def test_drift(changed: dict[str, Any], reason: str) -> None:
    machine = Machine(
        id="i-1",
        type="g5.xlarge",
        zone="us-east-1a",
        state="running",
        image="ami-1",
        subnet="subnet-a",
        security_groups=frozenset({"sg-1"}),
    )

    assert drift.reason(replace(machine, **changed), a_source(), a_type()) == reason
