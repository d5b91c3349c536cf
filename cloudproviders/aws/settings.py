"""What the operator sets for AWS, as values; each by its name in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudproviders.errors import CloudConfigurationError

EC2 = "ec2"
NODE_GROUP = "nodegroup"
FAMILIES = ("AL2023", "Bottlerocket")

DISK_GIB = 200
"""Of a machine whose claim and node class name no size: images with CUDA are large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where they are given by hand; else the SDK finds them (IRSA, pod identity, instance)."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`subnet_tags` … describe machines of claims that name no EC2NodeClass."""

    region: str
    cluster: str
    mode: str = EC2
    endpoint_url: str | None = None
    credentials: Credentials | None = None
    subnet_tags: Mapping[str, str] = field(default_factory=dict)
    security_group_tags: Mapping[str, str] = field(default_factory=dict)
    instance_profile: str = ""
    node_role: str = ""
    """An ARN; of managed node groups."""
    ami_family: str = "AL2023"
    ami_id: str = ""
    disk_gib: int = DISK_GIB
    tags: Mapping[str, str] = field(default_factory=dict)
    interruption_queue: str = ""


def of(given: Mapping[str, str]) -> Settings:
    """CloudConfigurationError, naming the variable and the remedy, where they cannot work."""
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION", "")
    if not region:
        raise CloudConfigurationError("AWS_REGION must be set: the region of the EKS cluster")
    cluster = given.get("AWS_CLUSTER_NAME", "")
    if not cluster:
        raise CloudConfigurationError("AWS_CLUSTER_NAME must be set: the EKS cluster's name")
    discovery = {"karpenter.sh/discovery": cluster}
    mode = _one_of(given, "AWS_MODE", (EC2, NODE_GROUP))
    role = given.get("AWS_NODE_ROLE_ARN", "")
    if mode == NODE_GROUP and not role:
        raise CloudConfigurationError(
            "AWS_NODE_ROLE_ARN must be set with AWS_MODE=nodegroup: the nodes' IAM role"
        )
    return Settings(
        region=region,
        cluster=cluster,
        mode=mode,
        endpoint_url=given.get("AWS_ENDPOINT_URL") or None,
        credentials=_credentials(given),
        subnet_tags=_tags(given, "AWS_SUBNET_TAGS") or discovery,
        security_group_tags=_tags(given, "AWS_SECURITY_GROUP_TAGS") or discovery,
        instance_profile=given.get("AWS_INSTANCE_PROFILE", ""),
        node_role=role,
        ami_family=_one_of(given, "AWS_AMI_FAMILY", FAMILIES),
        ami_id=given.get("AWS_AMI_ID", ""),
        disk_gib=_count(given, "AWS_DISK_GIB", DISK_GIB),
        tags=_tags(given, "AWS_TAGS"),
        interruption_queue=given.get("AWS_INTERRUPTION_QUEUE", ""),
    )


def _one_of(given: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    """The first is the default; case does not matter."""
    value = given.get(name) or known[0]
    for each in known:
        if each.casefold() == value.casefold():
            return each
    raise CloudConfigurationError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def _tags(given: Mapping[str, str], name: str) -> dict[str, str]:
    """`key=value,key=value`; the value `*` is any."""
    found: dict[str, str] = {}
    for pair in filter(None, given.get(name, "").split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise CloudConfigurationError(f"{name} must be key=value,key=value, not {pair!r}")
        found[key.strip()] = value.strip()
    return found


def _count(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name) or str(default)
    if not text.isdigit() or not int(text):
        raise CloudConfigurationError(f"{name} must be a number above 0, not {text!r}")
    return int(text)


def _credentials(given: Mapping[str, str]) -> Credentials | None:
    key, secret = given.get("AWS_ACCESS_KEY_ID"), given.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    return Credentials(
        access_key_id=key,
        secret_access_key=secret,
        session_token=given.get("AWS_SESSION_TOKEN") or None,
    )


def node_class_spec(settings: Settings) -> dict[str, Any]:
    """As an EC2NodeClass says it, for claims that name none (KaitoNodeClass)."""
    image = {"id": settings.ami_id} if settings.ami_id else {"alias": _alias(settings.ami_family)}
    return {
        "subnetSelectorTerms": [{"tags": dict(settings.subnet_tags)}],
        "securityGroupSelectorTerms": [{"tags": dict(settings.security_group_tags)}],
        "amiSelectorTerms": [image],
        "amiFamily": settings.ami_family,
        "instanceProfile": settings.instance_profile,
    }


def _alias(family: str) -> str:
    return f"{family.lower()}@latest"
