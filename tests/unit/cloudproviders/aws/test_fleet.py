"""What EC2 is asked for, and how its answers are read."""

from __future__ import annotations

import pytest

from cloudproviders.aws import fleet
from cloudproviders.aws.fleet import Rung
from cloudproviders.aws.launchtemplates import data, devices
from cloudproviders.aws.reservations import Reservation
from tests.unit.cloudproviders.aws.facts import a_choice, a_rung, a_source, a_spec, a_subnet

TAGS = {"kaito.sh/nodeclaim-uid": "uid-1"}


def test_one_fleet_holds_all_rungs_of_a_capacity_type() -> None:
    rungs = [a_rung("g5.xlarge", "a"), a_rung("g5.xlarge", "b"), a_rung("g5.2xlarge", "a")]

    request = fleet.request(rungs, client_token="t", tags=TAGS)

    assert request["Type"] == "instant"
    assert request["ClientToken"] == "t"
    assert request["TargetCapacitySpecification"] == {
        "TotalTargetCapacity": 1,
        "DefaultTargetCapacityType": "on-demand",
    }
    assert request["OnDemandOptions"] == {"AllocationStrategy": "lowest-price"}
    (config,) = request["LaunchTemplateConfigs"]
    assert [(each["InstanceType"], each["SubnetId"]) for each in config["Overrides"]] == [
        ("g5.xlarge", "subnet-a"),
        ("g5.xlarge", "subnet-b"),
        ("g5.2xlarge", "subnet-a"),
    ]
    marked = {each["ResourceType"]: each["Tags"] for each in request["TagSpecifications"]}
    assert marked.keys() == {"instance", "volume", "fleet"}
    assert {"Key": "karpenter.sh/capacity-type", "Value": "on-demand"} in marked["instance"]


def test_spot_is_bought_where_it_lives_long() -> None:
    request = fleet.request([a_rung(kind="spot")], client_token="t", tags=TAGS)

    assert request["SpotOptions"] == {"AllocationStrategy": "price-capacity-optimized"}
    assert "OnDemandOptions" not in request


@pytest.mark.parametrize(("block", "market"), [(False, "on-demand"), (True, "capacity-block")])
def test_a_reservation_is_a_market_of_its_own(block: bool, market: str) -> None:
    reserved = Reservation(
        id="cr-1", instance_type="g5.xlarge", zone="us-east-1a", available=1, block=block
    )
    rung = Rung(a_choice(kind="reserved"), a_subnet("a"), "template-1", reserved)

    request = fleet.request([rung], client_token="t", tags=TAGS)
    template = data(a_source(), a_source().images[0], "dXNlcg==", 100, reserved)

    assert request["TargetCapacitySpecification"]["DefaultTargetCapacityType"] == market
    target = template["CapacityReservationSpecification"]["CapacityReservationTarget"]
    assert target == {"CapacityReservationId": "cr-1"}
    assert ("InstanceMarketOptions" in template) is block


def test_the_first_capacity_type_is_climbed_first_and_not_without_end() -> None:
    reserved, spot, later = a_choice(kind="reserved"), a_choice(kind="spot"), a_choice()

    assert fleet.best([reserved, spot, later]) == [reserved]
    assert fleet.best([spot, later]) == [spot]
    assert fleet.best([]) == []
    assert len(fleet.best([later] * 1000)) == fleet.MOST_OVERRIDES


def test_tokens_repeat_for_the_same_attempt_and_no_other() -> None:
    token = fleet.token("uid-1", 0, "spot", "spot")

    assert token == fleet.token("uid-1", 0, "spot", "spot")
    assert len(token) <= 64
    others = [("uid-2", 0, "spot"), ("uid-1", 1, "spot"), ("uid-1", 0, "on-demand")]
    assert token not in {fleet.token(*each, "spot") for each in others}


def test_an_answer_names_the_rungs_that_it_refuses() -> None:
    rungs = [a_rung("g5.xlarge"), a_rung("g5.2xlarge")]
    override = {"InstanceType": "g5.xlarge", "SubnetId": "subnet-a"}
    answer = {
        "Errors": [
            {
                "ErrorCode": "InsufficientInstanceCapacity",
                "ErrorMessage": "none",
                "LaunchTemplateAndOverrides": {"Overrides": override},
            },
            {"ErrorCode": "Odd"},
        ],
        "Instances": [
            {
                "InstanceIds": ["i-1"],
                "InstanceType": "g5.2xlarge",
                "Lifecycle": "on-demand",
                "LaunchTemplateAndOverrides": {
                    "Overrides": {"InstanceType": "g5.2xlarge", "SubnetId": "subnet-a"}
                },
            }
        ],
    }

    found = fleet.outcome(answer, rungs, TAGS)

    assert [(each.code, each.rung) for each in found.refusals] == [
        ("InsufficientInstanceCapacity", rungs[0]),
        ("Odd", None),
    ]
    assert found.machine is not None
    assert found.machine.provider_id == "aws:///us-east-1a/i-1"
    assert (found.machine.type, found.machine.claim_uid) == ("g5.2xlarge", "uid-1")


def test_a_disk_is_one_volume_unless_the_class_says_otherwise() -> None:
    (image,) = a_source().images
    (own,) = devices(a_spec(), "AL2023", image, 200)
    system, images = devices(a_spec(), "Bottlerocket", image, 200)
    told = [{"deviceName": "/dev/sdb", "ebs": {"volumeSize": "50Gi", "iops": 4000}}]
    (theirs,) = devices(a_spec(blockDeviceMappings=told), "AL2023", image, 200)

    assert (own["DeviceName"], own["Ebs"]["VolumeSize"]) == ("/dev/xvda", 200)
    assert own["Ebs"]["Encrypted"]
    assert (system["Ebs"]["VolumeSize"], images["DeviceName"]) == (4, "/dev/xvdb")
    assert theirs["Ebs"] == {"VolumeSize": 50, "Iops": 4000, "DeleteOnTermination": True}
