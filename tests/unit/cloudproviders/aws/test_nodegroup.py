"""Managed node groups: what EKS is asked for, and what its states come to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from apis.karpenter.v1.labels import ZONE_LABEL
from cloudproviders.aws import nodegroup
from cloudproviders.aws.errors import Kind
from cloudproviders.aws.nodegroup import NodeGroup
from cloudproviders.aws.settings import Settings
from cloudproviders.errors import CreateError
from cloudproviders.unavailable import Scope
from kube.objects import NODES
from tests.fakes import objects
from tests.unit.cloudproviders.aws.facts import a_choice, a_source

SETTINGS = Settings(region="us-east-1", cluster="demo", node_role="arn:role")


def a_group(status: str = "ACTIVE", *issues: tuple[str, str], **given: Any) -> NodeGroup:
    wire: dict[str, Any] = {
        "nodegroupName": "ws1-1",
        "status": status,
        "instanceTypes": ["g5.xlarge"],
        "health": {"issues": [{"code": code, "message": text} for code, text in issues]},
        "tags": {
            "kaito.sh/nodeclaim": "ws1",
            "kaito.sh/nodeclaim-uid": "uid-1",
            "kaito.sh/zones": "us-east-1a:us-east-1b",
            "karpenter.sh/capacity-type": "spot",
        },
    }
    return NodeGroup.of({**wire, **given})


def a_body(name: str = "g5.xlarge", family: str = "AL2023", **claim: Any) -> dict[str, Any]:
    source = a_source(family=family)
    zones = ["us-east-1a"]
    return nodegroup.body(
        objects.claim(**claim), source, a_choice(name, kind="spot"), zones, SETTINGS, 100
    )


def test_a_group_is_one_node_of_one_type_closed_at_boot() -> None:
    body = a_body(
        labels={"kaito.sh/workspace": "phi", "kubernetes.io/role": "no"},
        taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
    )

    assert body["scalingConfig"] == {"minSize": 1, "maxSize": 1, "desiredSize": 1}
    assert (body["instanceTypes"], body["capacityType"]) == (["g5.xlarge"], "SPOT")
    assert (body["amiType"], body["diskSize"]) == ("AL2023_x86_64_NVIDIA", 100)
    assert body["subnets"] == ["subnet-a"]
    assert body["nodeRole"] == "arn:role"
    assert body["taints"] == [
        {"key": "sku", "value": "gpu", "effect": "NO_SCHEDULE"},
        {"key": "karpenter.sh/unregistered", "effect": "NO_EXECUTE"},
    ]
    assert body["labels"]["kaito.sh/workspace"] == "phi"
    assert body["labels"]["kaito.sh/nodeclaim"] == "ws1"
    assert "kubernetes.io/role" not in body["labels"]
    assert body["tags"]["kaito.sh/managed-by"] == "demo"
    assert body["tags"]["kaito.sh/nodeclaim-uid"] == "uid-1"


@pytest.mark.parametrize(
    ("name", "family", "ami_type"),
    [
        ("trn1.2xlarge", "AL2023", "AL2023_x86_64_NEURON"),
        ("g4ad.xlarge", "AL2023", "AL2023_x86_64_STANDARD"),
        ("g5.xlarge", "Bottlerocket", "BOTTLEROCKET_x86_64_NVIDIA"),
    ],
)
def test_the_image_is_for_the_types_accelerators(name: str, family: str, ami_type: str) -> None:
    assert a_body(name, family)["amiType"] == ami_type


def test_what_eks_has_no_image_for_is_told() -> None:
    with pytest.raises(CreateError, match=r"trn1\.2xlarge"):
        a_body("trn1.2xlarge", "Bottlerocket")


def test_names_are_eks_own_alphabet_and_differ_by_uid() -> None:
    name = nodegroup.name_of(objects.claim("a.claim" + "x" * 80))

    assert len(name) == 63
    assert name.replace("-", "").isalnum()
    assert name != nodegroup.name_of(objects.claim("a.claim" + "x" * 80, uid="uid-2"))


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        pytest.param(
            a_group(
                "CREATING",
                (
                    "AsgInstanceLaunchFailures",
                    "Could not launch On-Demand Instances. InsufficientInstanceCapacity - none",
                ),
            ),
            Kind.OFFERING,
            id="sold out while EKS goes on trying",
        ),
        pytest.param(
            a_group("CREATE_FAILED", ("AsgInstanceLaunchFailures", "VcpuLimitExceeded - 8")),
            Kind.QUOTA,
            id="quota in the words of EC2",
        ),
        pytest.param(
            a_group("CREATE_FAILED", ("AsgInstanceLaunchFailures", "something else")),
            Kind.OFFERING,
            id="a launch that failed for no known reason",
        ),
        pytest.param(
            a_group("CREATE_FAILED", ("IamNodeRoleNotFound", "gone")),
            Kind.CONFIGURATION,
            id="no role",
        ),
        pytest.param(a_group("CREATE_FAILED", ("BrandNew", "?")), Kind.CONFIGURATION, id="unknown"),
        pytest.param(a_group("CREATE_FAILED"), Kind.OFFERING, id="no word of it"),
    ],
)
def test_a_group_that_comes_to_nothing_says_of_what_kind(group: NodeGroup, kind: Kind) -> None:
    assert group.issues
    assert group.kind is kind


def test_issues_of_a_group_that_stands_are_not_the_ends() -> None:
    assert a_group("ACTIVE", ("ClusterUnreachable", "for a moment")).issues == ()
    assert a_group("CREATING").issues == ()


def test_a_failure_speaks_of_the_zones_that_were_tried() -> None:
    sold_out = a_group("CREATE_FAILED", ("AsgInstanceLaunchFailures", "UnfulfillableCapacity"))
    quota = a_group("CREATE_FAILED", ("InstanceLimitExceeded", "8"))

    assert sold_out.scopes == [
        Scope(instance_type="g5.xlarge", zone=zone, capacity_type="spot")
        for zone in ("us-east-1a", "us-east-1b")
    ]
    assert quota.scopes == [Scope(instance_type="g5.xlarge", capacity_type="spot")]


def test_the_node_tells_where_the_machine_is() -> None:
    manifest = objects.node_manifest("aws:///us-east-1b/i-1", labels={ZONE_LABEL: "us-east-1b"})
    node = NODES.decode(msgspec.json.encode(manifest))

    before, after = a_group().instance(None, None), a_group().instance(node, None)

    assert (before.provider_id, before.zone) == ("", "")
    assert (after.provider_id, after.zone) == ("aws:///us-east-1b/i-1", "us-east-1b")
    assert (after.claim_uid, after.capacity_type) == ("uid-1", "spot")
