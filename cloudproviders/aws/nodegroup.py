"""A managed node group as EKS tells it, and as we ask for it. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim, Taint
from cloudproviders.aws import bootstrap, errors, images, tags
from cloudproviders.aws.errors import Kind
from cloudproviders.aws.nodeclass import EC2_NODE_CLASS
from cloudproviders.aws.sdk import Wire
from cloudproviders.aws.settings import Settings
from cloudproviders.aws.source import Source
from cloudproviders.errors import CreateError
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.provider import Instance
from cloudproviders.selection import Choice
from cloudproviders.unavailable import Scope
from kube.objects import Node

NAME_LIMIT = 63
ZONES_TAG = "kaito.sh/zones"
SEPARATOR = ":"
INSTANCE_TYPE_TAG = "kaito.sh/instance-type"

_CAPACITY_TYPES = {labels.CAPACITY_SPOT: "SPOT", labels.CAPACITY_ON_DEMAND: "ON_DEMAND"}
_EFFECTS = {
    "NoSchedule": "NO_SCHEDULE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
}
AMI_TYPES: Mapping[tuple[str, str, str], str] = {
    (images.AL2023, "amd64", images.STANDARD): "AL2023_x86_64_STANDARD",
    (images.AL2023, "amd64", images.NVIDIA): "AL2023_x86_64_NVIDIA",
    (images.AL2023, "amd64", images.NEURON): "AL2023_x86_64_NEURON",
    (images.AL2023, "arm64", images.STANDARD): "AL2023_ARM_64_STANDARD",
    (images.AL2023, "arm64", images.NVIDIA): "AL2023_ARM_64_NVIDIA",
    (images.BOTTLEROCKET, "amd64", images.STANDARD): "BOTTLEROCKET_x86_64",
    (images.BOTTLEROCKET, "amd64", images.NVIDIA): "BOTTLEROCKET_x86_64_NVIDIA",
    (images.BOTTLEROCKET, "arm64", images.STANDARD): "BOTTLEROCKET_ARM_64",
    (images.BOTTLEROCKET, "arm64", images.NVIDIA): "BOTTLEROCKET_ARM_64_NVIDIA",
}
"""EKS' names (API reference, CreateNodegroup, amiType)."""

FAILED = frozenset({"CREATE_FAILED", "DEGRADED"})

ISSUES: Mapping[str, Kind] = {
    "InstanceLimitExceeded": Kind.QUOTA,
    "InsufficientFreeAddresses": Kind.SUBNET,
    "Ec2SubnetNotFound": Kind.CONFIGURATION,
    "IamNodeRoleNotFound": Kind.CONFIGURATION,
    "IamInstanceProfileNotFound": Kind.CONFIGURATION,
    "AccessDenied": Kind.CONFIGURATION,
    "NodeCreationFailure": Kind.OFFERING,
    "AsgInstanceLaunchFailures": Kind.OFFERING,
}
"""EKS' issue codes (API reference, Issue). Of launches that EC2 refused EKS tells the code in the
text only: there it is looked for."""


@dataclass(frozen=True, slots=True)
class Issue:
    code: str
    message: str

    @property
    def cause(self) -> str:
        """EC2's own code where the text has one."""
        if self.code != "AsgInstanceLaunchFailures":
            return self.code
        return next((code for code in errors.MEANINGS if code in self.message), self.code)

    @property
    def kind(self) -> Kind:
        if self.cause != self.code:
            return errors.meaning_of(self.cause).kind
        return ISSUES.get(self.code, Kind.CONFIGURATION)

    @property
    def reason(self) -> str:
        return errors.meaning_of(self.cause).reason or errors.reason(self.cause)

    @property
    def told(self) -> str:
        return errors.explained(self.cause, self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroup:
    """`issues` are those of a group that will come to nothing."""

    name: str
    status: str
    type: str
    tags: Mapping[str, str] = field(default_factory=dict)
    subnets: Sequence[str] = ()
    image: str = ""
    created: datetime | None = None
    issues: Sequence[Issue] = ()

    @classmethod
    def of(cls, wire: Wire) -> NodeGroup:
        told = [
            Issue(each.get("code", ""), each.get("message", ""))
            for each in wire.get("health", {}).get("issues", ())
        ]
        status = wire.get("status", "")
        if status in FAILED and not told:
            told = [Issue("NodeCreationFailure", f"EKS says {status} and gives no reason")]
        marked = wire.get("tags", {})
        return cls(
            name=wire["nodegroupName"],
            status=status,
            type=next(iter(wire.get("instanceTypes") or ()), marked.get(INSTANCE_TYPE_TAG, "")),
            tags=marked,
            subnets=tuple(wire.get("subnets") or ()),
            image=f"{wire.get('amiType', '')}/{wire.get('releaseVersion', '')}",
            created=wire.get("createdAt"),
            issues=told if status in FAILED or _hopeless(told) else (),
        )

    @property
    def claim_uid(self) -> str:
        """ "" for a group that is not ours."""
        return self.tags.get(tags.CLAIM_UID_TAG, "")

    @property
    def deleting(self) -> bool:
        return self.status == "DELETING"

    @property
    def capacity_type(self) -> str:
        return self.tags.get(tags.CAPACITY_TYPE_TAG, labels.CAPACITY_ON_DEMAND)

    @property
    def zones(self) -> list[str]:
        """Where EKS may put the machine."""
        return self.tags.get(ZONES_TAG, "").split(SEPARATOR)

    @property
    def kind(self) -> Kind:
        """What a failure comes to: where one issue is the rung's own, another rung may do."""
        kinds = {each.kind for each in self.issues}
        order = (Kind.QUOTA, Kind.SUBNET, Kind.OFFERING, Kind.SPOT, Kind.TRANSIENT)
        return next((each for each in order if each in kinds), Kind.CONFIGURATION)

    @property
    def scopes(self) -> list[Scope]:
        """What a failure of the group speaks of."""
        zones = [""] if self.kind is Kind.QUOTA else self.zones
        return [
            Scope(instance_type=self.type, zone=zone, capacity_type=self.capacity_type)
            for zone in zones
        ]

    def instance(self, node: Node | None, known: InstanceType | None) -> Instance:
        """With the machine's provider id as soon as its Node has told it."""
        zone = self.zones[0] if len(self.zones) == 1 else ""
        if node is not None:
            zone = node.metadata.labels.get(labels.ZONE_LABEL, zone)
        offering = Offering(zone=zone, capacity_type=self.capacity_type)
        return Instance(
            provider_id=node.spec.provider_id if node else "",
            name=self.name,
            claim_name=self.tags.get(tags.CLAIM_TAG, ""),
            claim_uid=self.claim_uid,
            instance_type=self.type,
            zone=zone,
            capacity_type=self.capacity_type,
            image_id=self.image,
            capacity=known.capacity if known else {},
            allocatable=known.allocatable if known else {},
            labels=known.labels_at(offering) if known else {},
            terminating=self.deleting,
            created=self.created,
        )


def _hopeless(issues: Sequence[Issue]) -> bool:
    """EKS goes on trying where EC2 refuses; another rung may do better."""
    return any(each.code == "AsgInstanceLaunchFailures" for each in issues)


def name_of(claim: NodeClaim) -> str:
    """Letters, digits, `-` and `_`, at most 63, and another one for each uid."""
    digest = hashlib.sha256(claim.metadata.uid.encode()).hexdigest()[:8]
    kept = re.sub(r"[^A-Za-z0-9_-]", "-", claim.metadata.name)[: NAME_LIMIT - len(digest) - 1]
    return f"{kept}-{digest}"


def body(
    claim: NodeClaim,
    source: Source,
    choice: Choice,
    zones: Sequence[str],
    settings: Settings,
    disk_gib: int,
) -> Wire:
    """The parameters of CreateNodegroup: one machine, in whichever of the zones has one."""
    offering = choice.offering
    name = name_of(claim)
    family = (source.family, choice.instance_type.architecture)
    ami_type = AMI_TYPES.get((*family, images.variant_for(choice.instance_type)))
    if ami_type is None:
        raise CreateError(
            "UnsupportedAMIFamily",
            f"EKS has no {source.family} image for {choice.instance_type.name}",
        )
    marked = {
        **tags.of_claim(claim, settings.cluster, {**settings.tags, **source.spec.tags}),
        tags.CAPACITY_TYPE_TAG: offering.capacity_type,
        ZONES_TAG: SEPARATOR.join(zones),
        INSTANCE_TYPE_TAG: choice.instance_type.name,
    }
    taints = [*claim.spec.taints, *claim.spec.startup_taints, bootstrap.UNREGISTERED]
    return {
        "clusterName": settings.cluster,
        "nodegroupName": name,
        "clientRequestToken": hashlib.sha256(f"{name}/{choice}/{zones}".encode()).hexdigest(),
        "scalingConfig": {"minSize": 1, "maxSize": 1, "desiredSize": 1},
        "diskSize": disk_gib,
        "subnets": [each.id for each in source.subnets if each.zone in zones],
        "instanceTypes": [choice.instance_type.name],
        "amiType": ami_type,
        "capacityType": _CAPACITY_TYPES[offering.capacity_type],
        "nodeRole": settings.node_role,
        "labels": _labels(claim, source, offering),
        "taints": [_taint(each) for each in taints],
        "tags": marked,
    }


def _labels(claim: NodeClaim, source: Source, offering: Offering) -> dict[str, str]:
    found = {
        **{key: value for key, value in claim.metadata.labels.items() if bootstrap.settable(key)},
        tags.CLAIM_TAG: claim.metadata.name,
        labels.CAPACITY_TYPE_LABEL: offering.capacity_type,
        labels.DO_NOT_SYNC_TAINTS_LABEL: "true",
    }
    return {**found, EC2_NODE_CLASS.label: source.name} if source.name else found


def _taint(taint: Taint) -> dict[str, str]:
    found = {"key": taint.key, "effect": _EFFECTS[taint.effect]}
    return {**found, "value": taint.value} if taint.value else found
