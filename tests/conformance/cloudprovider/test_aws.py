"""AWS keeps the rules that every cloud keeps; and what it promises beyond."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.aws import launchtemplates
from cloudproviders.aws.nodeclass import EC2_NODE_CLASSES
from cloudproviders.aws.reservations import TTL_SECONDS
from cloudproviders.errors import (
    CloudUnavailableError,
    CreateError,
    InsufficientCapacityError,
    NodeClassNotReadyError,
)
from cloudproviders.nodeclass import NodeClass
from cloudproviders.provider import Instance
from kube.meta import ObjectMeta
from tests.conformance.cloudprovider.aws_world import CLUSTER, QUEUE, AwsNodeGroupWorld, AwsWorld
from tests.conformance.cloudprovider.suite import CloudProviderConformance
from tests.fakes import objects
from tests.fakes.aws import backend

DISCOVERY = {"tags": {"karpenter.sh/discovery": CLUSTER}}
CLASS_REF = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "gpus"}
SPEC: dict[str, Any] = {
    "subnetSelectorTerms": [DISCOVERY],
    "securityGroupSelectorTerms": [DISCOVERY],
    "amiSelectorTerms": [{"alias": "al2023@latest"}],
    "instanceProfile": "nodes",
}


class TestAws(CloudProviderConformance):
    world_class = AwsWorld


class TestAwsNodeGroups(CloudProviderConformance):
    world_class = AwsNodeGroupWorld


@pytest.fixture
async def world() -> AsyncIterator[AwsWorld]:
    async with AwsWorld() as found:
        found.kube.store(EC2_NODE_CLASSES)
        yield found


def of_class(world: AwsWorld, name: str = "ws1", kind: str = "on-demand") -> NodeClaim:
    return objects.claim(
        name,
        uid=f"uid-{name}",
        node_class_ref=CLASS_REF,
        requirements=[
            {"key": labels.INSTANCE_TYPE_LABEL, "operator": "In", "values": ["g5.xlarge"]},
            {"key": labels.CAPACITY_TYPE_LABEL, "operator": "In", "values": kind.split(",")},
        ],
    )


def add_class(world: AwsWorld, **changed: Any) -> None:
    world.kube.add(
        {
            "apiVersion": "karpenter.k8s.aws/v1",
            "kind": "EC2NodeClass",
            "metadata": {"name": "gpus"},
            "spec": {**SPEC, **changed},
        }
    )


async def test_a_claim_of_a_node_class_is_launched_from_it(world: AwsWorld) -> None:
    add_class(world, tags={"cost": "ml"})

    made = await world.launched(of_class(world))

    (machine,) = await world.emulator.machines()
    marked = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
    assert made.capacity_type == "on-demand"
    assert marked["cost"] == "ml"
    assert marked["karpenter.k8s.aws/ec2nodeclass"] == "gpus"
    assert marked[f"kubernetes.io/cluster/{CLUSTER}"] == "owned"
    assert marked["kaito.sh/nodeclaim"] == "ws1"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({"subnetSelectorTerms": [{"id": "subnet-0"}]}, "SubnetsReady", id="subnets"),
        pytest.param(
            {"securityGroupSelectorTerms": [{"name": "no-such"}]}, "SecurityGroupsReady", id="sg"
        ),
        pytest.param(
            {"amiSelectorTerms": [{"id": "ami-0"}], "amiFamily": "AL2023"}, "AMIsReady", id="ami"
        ),
        pytest.param({"userData": "x" * 17_000}, "ValidationSucceeded", id="user data"),
    ],
)
async def test_a_node_class_that_cannot_be_launched_from_is_not_ready(
    world: AwsWorld, changed: dict[str, Any], told: str
) -> None:
    add_class(world, **changed)
    node_class = NodeClass(metadata=ObjectMeta(name="gpus"), spec={**SPEC, **changed})

    status = await world.provider.resolve(node_class)

    assert [each.type for each in status.conditions if each.status != "True"] == [told]
    with pytest.raises(NodeClassNotReadyError, match=told):
        await world.provider.create(of_class(world))


async def test_a_node_class_that_is_not_there_is_not_ready(world: AwsWorld) -> None:
    with pytest.raises(NodeClassNotReadyError, match="does not exist"):
        await world.provider.create(of_class(world))


async def test_a_node_class_tells_what_it_stands_for(world: AwsWorld) -> None:
    node_class = NodeClass(metadata=ObjectMeta(name="gpus"), spec={**SPEC, "role": "Nodes"})
    del node_class.spec["instanceProfile"]
    iam = backend.client("iam")
    iam.create_role(RoleName="Nodes", AssumeRolePolicyDocument="{}")

    status = await world.provider.resolve(node_class)

    assert status.ready
    assert len(status.fields["subnets"]) == 6
    assert status.fields["securityGroups"][0]["name"] == "default"
    assert len(status.fields["amis"]) == 5
    profile = iam.get_instance_profile(InstanceProfileName=status.fields["instanceProfile"])
    assert profile["InstanceProfile"]["Roles"][0]["RoleName"] == "Nodes"


async def test_reserved_machines_come_first_until_they_are_used_up(world: AwsWorld) -> None:
    add_class(world, capacityReservationSelectorTerms=[{"tags": {"for": "ml"}}])
    world.emulator.reserve("cr-1", "g5.xlarge", "us-east-1b", tags={"for": "ml"})
    world.emulator.reserve("cr-2", "g5.xlarge", "us-east-1a", tags={"for": "others"})
    both = "reserved,on-demand"

    first = await world.launched(of_class(world, "ws1", both))
    second = await world.launched(of_class(world, "ws2", both))
    await world.tick(TTL_SECONDS + 1)
    third = await world.launched(of_class(world, "ws3", both))

    assert (first.capacity_type, first.zone) == ("reserved", "us-east-1b")
    assert second.capacity_type == "on-demand"  # refused by EC2 itself
    assert third.capacity_type == "on-demand"  # not asked for again


async def test_claims_that_boot_alike_share_a_template_until_it_is_unused(
    world: AwsWorld,
) -> None:
    await world.all_launched([world.claim(f"ws{n}") for n in range(3)])
    assert world.emulator.calls["CreateLaunchTemplate"] == 1
    await world.restart()
    await world.provider.list()
    await world.tick(launchtemplates.UNUSED_SECONDS + 1)
    await world.provider.list()

    assert world.emulator.calls["DeleteLaunchTemplate"] == 1


async def test_a_template_that_somebody_has_deleted_is_made_again(world: AwsWorld) -> None:
    await world.launched(world.claim("ws1"))
    ec2 = backend.client("ec2")
    for each in ec2.describe_launch_templates()["LaunchTemplates"]:
        ec2.delete_launch_template(LaunchTemplateId=each["LaunchTemplateId"])

    made = await world.launched(world.claim("ws2"))

    assert made.provider_id
    assert world.emulator.calls["CreateLaunchTemplate"] == 2


async def test_a_type_beside_the_catalogue_is_known_when_it_is_asked_for(world: AwsWorld) -> None:
    made = await world.launched(world.claim(instance_types=["g4dn.xlarge"]))
    await world.restart()

    again = await world.launched(world.claim(instance_types=["g4dn.xlarge"]))

    assert made.capacity["nvidia.com/gpu"] == "1"
    assert made.labels["karpenter.k8s.aws/instance-gpu-name"] == "t4"
    assert again == made


async def test_quota_of_one_family_is_got_round_by_another(world: AwsWorld) -> None:
    world.refuse("VcpuLimitExceeded", words="limit of 8", instance_type="g5.xlarge")

    made = await world.launched(world.claim(instance_types=["g5.xlarge", "g6.2xlarge"]))
    with pytest.raises(CreateError) as caught:
        await world.launched(world.claim("ws2"))

    assert made.instance_type == "g6.2xlarge"
    assert caught.value.reason == "QuotaExceeded"
    assert "limit of 8" in caught.value.message
    assert "Service Quotas" in caught.value.message


async def test_a_drained_subnet_is_left_for_another_zone(world: AwsWorld) -> None:
    world.refuse("InsufficientFreeAddressesInSubnet", zone="us-east-1a")
    here = [labels.CAPACITY_ON_DEMAND]

    made = await world.launched(world.claim(zones=world.zones, capacity_types=here))
    with pytest.raises(InsufficientCapacityError, match="InsufficientFreeAddressesInSubnet"):
        await world.launched(world.claim("ws2", zones=world.zones[:1], capacity_types=here))

    assert made.zone == "us-east-1b"


def warning(instance: str) -> dict[str, Any]:
    return {
        "detail-type": "EC2 Spot Instance Interruption Warning",
        "source": "aws.ec2",
        "time": datetime.now(UTC).isoformat(),
        "detail": {"instance-id": instance, "instance-action": "terminate"},
    }


async def test_a_spot_notice_is_told_once_and_that_kind_of_spot_avoided(world: AwsWorld) -> None:
    spot = [labels.CAPACITY_SPOT]
    made = await world.launched(world.claim(capacity_types=spot, zones=world.zones[:1]))
    for body in ("this is no event", warning("i-of-somebody-else"), warning(made.name)):
        await world.emulator.send(QUEUE, body)

    async with aclosing(world.provider.interruptions()) as notices:  # type: ignore[type-var]
        notice = await anext(notices)
        assert notice.acknowledge is not None
        await notice.acknowledge()

    assert (notice.kind, notice.provider_id) == ("spot_interrupted", made.provider_id)
    assert notice.deadline is not None
    assert world.emulator.calls["DeleteMessage"] == 3
    with pytest.raises(InsufficientCapacityError, match="spot_interrupted"):
        await world.launched(world.claim("ws2", capacity_types=spot, zones=world.zones[:1]))


async def test_without_a_queue_there_are_no_notices(world: AwsWorld) -> None:
    world.queue = ""

    provider = await world.restart()

    assert [each async for each in provider.interruptions()] == []


async def test_a_doubled_machine_is_brought_to_its_end(world: AwsWorld) -> None:
    claim = world.claim()
    made = await world.launched(claim)
    (machine,) = await world.emulator.machines()
    ec2 = backend.client("ec2")
    ec2.run_instances(
        ImageId="ami-03cf127a",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": machine["Tags"]}],
    )
    await world.restart()

    again = await world.launched(claim)

    assert isinstance(again, Instance)
    assert len(await world.machines()) == 1
    assert made.claim_uid == again.claim_uid


async def test_a_token_that_was_used_in_other_words_is_not_used_again(world: AwsWorld) -> None:
    world.emulator.fail("CreateFleet", "IdempotentParameterMismatch")

    with pytest.raises(CloudUnavailableError):
        await world.provider.create(world.claim())
    await world.launched(world.claim())

    assert len(await world.machines()) == 1


async def test_an_answer_of_old_about_a_machine_that_has_died_is_not_believed(
    world: AwsWorld,
) -> None:
    claim = world.claim()
    first = await world.launched(claim)
    backend.client("ec2").terminate_instances(InstanceIds=[first.name])
    await world.restart()

    again = await world.launched(claim)

    assert again.provider_id != first.provider_id
    assert len(await world.machines()) == 1


async def test_many_machines_cost_few_looks_and_ends(world: AwsWorld) -> None:
    claims = [world.claim(f"ws{n}") for n in range(40)]
    await world.all_launched(claims)
    await world.gone(*claims)

    calls = world.emulator.calls
    assert calls["CreateFleet"] == 40
    assert calls["CreateLaunchTemplate"] == 1
    assert calls["DescribeInstances"] < 30
    assert calls["TerminateInstances"] < 10
    assert await world.machines() == []
