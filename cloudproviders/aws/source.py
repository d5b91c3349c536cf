"""What machines are made from: a node class, or the operator's settings, in the account's terms.
Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apis.karpenter.nodeclasses.ec2 import EC2NodeClassSpec
from cloudproviders.aws import bootstrap
from cloudproviders.aws.cluster import Cluster
from cloudproviders.aws.images import Image
from cloudproviders.aws.network import SecurityGroup, Subnet
from cloudproviders.aws.reservations import Reservation
from cloudproviders.aws.settings import EC2, Settings
from cloudproviders.errors import CreateError
from cloudproviders.nodeclass import NodeClassCondition

Problem = tuple[str, str]
"""Reason and message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What machines are made from. `problems`: condition type → reason and message."""

    name: str
    spec: EC2NodeClassSpec
    family: str
    cluster: Cluster
    subnets: Sequence[Subnet] = ()
    security_groups: Sequence[SecurityGroup] = ()
    images: Sequence[Image] = ()
    profile: str = ""
    reservations: Sequence[Reservation] = ()
    problems: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def conditions(self) -> list[NodeClassCondition]:
        """Karpenter's; each feeds the class's Ready."""
        kinds = ["AMIsReady", "SubnetsReady", "SecurityGroupsReady", "InstanceProfileReady"]
        if self.spec.capacity_reservation_selector_terms:
            kinds.append("CapacityReservationsReady")
        return [
            NodeClassCondition(kind, "False", *self.problems[kind])
            if kind in self.problems
            else NodeClassCondition(kind, "True", kind)
            for kind in [*kinds, "ValidationSucceeded"]
        ]

    @property
    def fields(self) -> dict[str, Any]:
        """As karpenter-provider-aws writes them into the status."""
        found: dict[str, Any] = {
            "subnets": [
                {"id": each.id, "zone": each.zone, "zoneID": each.zone_id} for each in self.subnets
            ],
            "securityGroups": [{"id": each.id, "name": each.name} for each in self.security_groups],
            "amis": [_ami(each) for each in self.images],
            "instanceProfile": self.profile,
        }
        if self.reservations:
            found["capacityReservations"] = [_reservation(each) for each in self.reservations]
        return found


def _ami(image: Image) -> dict[str, Any]:
    need = {"key": "kubernetes.io/arch", "operator": "In", "values": [image.architecture]}
    return {"id": image.id, "name": image.name, "requirements": [need]}


def _reservation(each: Reservation) -> dict[str, Any]:
    return {
        "id": each.id,
        "instanceType": each.instance_type,
        "availabilityZone": each.zone,
        "reservationType": "capacity-block" if each.block else "default",
        "state": "active",
    }


def problems(source: Source, settings: Settings) -> dict[str, Problem]:
    """What speaks against launching from it, by the type of the condition."""
    found: dict[str, Problem] = {}
    if not source.images:
        told = f"no image is selected for Kubernetes {source.cluster.version}"
        found["AMIsReady"] = ("AMINotFound", told)
    if not source.subnets:
        told = _none("subnet", "AWS_SUBNET_TAGS", settings.subnet_tags)
        told = "no subnet is selected by subnetSelectorTerms" if source.name else told
        found["SubnetsReady"] = ("SubnetsNotFound", told)
    if not source.security_groups:
        told = _none("security group", "AWS_SECURITY_GROUP_TAGS", settings.security_group_tags)
        terms = "no security group is selected by securityGroupSelectorTerms"
        told = terms if source.name else told
        found["SecurityGroupsReady"] = ("SecurityGroupsNotFound", told)
    if not source.profile and settings.mode == EC2:
        told = "set AWS_INSTANCE_PROFILE: the instance profile of nodes without an EC2NodeClass"
        found["InstanceProfileReady"] = ("InstanceProfileMissing", told)
    try:
        bootstrap.user_data(source.family, source.cluster, source.spec, {}, [])
    except CreateError as wrong:
        found["ValidationSucceeded"] = (wrong.reason, wrong.message)
    return found


def _none(what: str, variable: str, wanted: Mapping[str, str]) -> str:
    told = ",".join(f"{key}={value}" for key, value in wanted.items())
    return f"no {what} has the tags {told}: tag what nodes shall use, or set {variable}"
