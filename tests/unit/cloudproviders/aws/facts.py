"""Values to start a test from; each test names only what it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cloudproviders
from apis.karpenter.nodeclasses.ec2 import EC2NodeClassSpec
from cloudproviders.aws.cluster import Cluster
from cloudproviders.aws.fleet import Rung
from cloudproviders.aws.images import NVIDIA, Image
from cloudproviders.aws.network import SecurityGroup, Subnet
from cloudproviders.aws.source import Source
from cloudproviders.aws.types import labelled
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.selection import Choice

CLUSTER = Cluster(
    name="demo",
    endpoint="https://demo.eks",
    ca="Q0E=",
    cidr="10.100.0.0/16",
    version="1.33",
)


def a_spec(**given: Any) -> EC2NodeClassSpec:
    return EC2NodeClassSpec.model_validate(
        {
            "subnetSelectorTerms": [{"tags": {"a": "b"}}],
            "securityGroupSelectorTerms": [{"id": "sg-1"}],
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "instanceProfile": "nodes",
            **given,
        }
    )


def a_source(**given: Any) -> Source:
    found = Source(
        name="",
        spec=a_spec(),
        family="AL2023",
        cluster=CLUSTER,
        subnets=[a_subnet("a"), a_subnet("b")],
        security_groups=[SecurityGroup("sg-1", "default")],
        images=[Image(id="ami-1", variant=NVIDIA)],
        profile="nodes",
    )
    return replace(found, **given)


def a_subnet(zone: str, free: int = 10, id: str = "") -> Subnet:
    return Subnet(id or f"subnet-{zone}", f"us-east-1{zone}", f"use1-{zone}", free)


def a_type(name: str = "g5.xlarge") -> InstanceType:
    return labelled(cloudproviders.instance_types("aws")[name])


def a_choice(name: str = "g5.xlarge", zone: str = "a", kind: str = "on-demand") -> Choice:
    return Choice(a_type(name), Offering(zone=f"us-east-1{zone}", capacity_type=kind))


def a_rung(name: str = "g5.xlarge", zone: str = "a", kind: str = "on-demand") -> Rung:
    return Rung(a_choice(name, zone, kind), a_subnet(zone), "template-1")
