"""EC2NodeClass (karpenter.k8s.aws/v1): how EC2 makes a node.

Names, bounds and rules are those of karpenter-provider-aws.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from apis.karpenter.nodeclasses.parts import OPEN, KubeletConfiguration, NodeClassStatus, Open
from apis.model import ApiObject, Quantity, Schema, rules

_FILLED_TAGS = {
    "maxProperties": 20,
    **rules(("self.all(k, k != '' && self[k] != '')", "empty tag keys or values aren't supported")),
}
_TAG_FILTER = Annotated[dict[str, str], Schema(_FILLED_TAGS)]
"""Tag → value; `*` is any value."""

_OWN_TAGS = (
    "eks:eks-cluster-name",
    "karpenter.sh/nodepool",
    "karpenter.sh/nodeclaim",
    "karpenter.k8s.aws/ec2nodeclass",
)
_TAGS = rules(
    ("self.all(k, k != '')", "empty tag keys aren't supported"),
    (
        "self.all(k, !k.startsWith('kubernetes.io/cluster'))",
        "tag contains a restricted tag matching kubernetes.io/cluster/",
    ),
    *(
        (f"self.all(k, k != '{tag}')", f"tag contains a restricted tag matching {tag}")
        for tag in _OWN_TAGS
    ),
)


class SubnetSelectorTerm(Open):
    """Subnets by tags, or one by its id."""

    tags: _TAG_FILTER = Field(default_factory=dict)
    id: Annotated[str, Schema({"pattern": "subnet-[0-9a-z]+"})] = ""


class SecurityGroupSelectorTerm(Open):
    """Security groups by tags or by name, or one by its id."""

    tags: _TAG_FILTER = Field(default_factory=dict)
    id: Annotated[str, Schema({"pattern": "sg-[0-9a-z]+"})] = ""
    name: str = ""


class CapacityReservationSelectorTerm(Open):
    """Capacity reservations by tags, owner and criteria, or one by its id."""

    tags: _TAG_FILTER = Field(default_factory=dict)
    id: Annotated[str, Schema({"pattern": "^cr-[0-9a-z]+$"})] = ""
    owner_id: Annotated[str, Schema({"pattern": "^[0-9]{12}$"})] = Field(
        default="", alias="ownerID"
    )
    instance_match_criteria: Annotated[str, Schema({"enum": ["open", "targeted"]})] = ""


class AMISelectorTerm(Open):
    """Images: an alias (`al2023@latest`), or by id, SSM parameter, name and owner, or tags."""

    alias: Annotated[
        str,
        Schema(
            {
                "maxLength": 60,
                **rules(
                    (
                        "self.matches('^[a-zA-Z0-9]+@.+$')",
                        "'alias' is improperly formatted, must match the format 'family@version'",
                    )
                ),
            }
        ),
    ] = ""
    tags: _TAG_FILTER = Field(default_factory=dict)
    id: Annotated[str, Schema({"pattern": "ami-[0-9a-z]+"})] = ""
    name: str = ""
    owner: str = ""
    """An account's number, `self`, `amazon` or `aws-marketplace`."""
    ssm_parameter: str = ""


class BlockDevice(Open):
    """An EBS volume."""

    model_config = ConfigDict(
        json_schema_extra={
            **OPEN,
            **rules(
                (
                    "has(self.snapshotID) || has(self.volumeSize)",
                    "snapshotID or volumeSize must be defined",
                )
            ),
        }
    )

    volume_size: Quantity | None = None
    volume_type: Annotated[
        str, Schema({"enum": ["standard", "io1", "io2", "gp2", "sc1", "st1", "gp3"]})
    ] = ""
    iops: Annotated[int | None, Schema({"format": "int64"})] = None
    throughput: Annotated[int | None, Schema({"format": "int64"})] = None
    """MiB a second."""
    encrypted: bool | None = None
    delete_on_termination: bool | None = None
    kms_key_id: str = Field(default="", alias="kmsKeyID")
    snapshot_id: str = Field(default="", alias="snapshotID")


class BlockDeviceMapping(Open):
    """A volume, and the device that it appears as."""

    device_name: str = ""
    ebs: BlockDevice | None = None
    root_volume: bool = False
    """Whether kubelet's directory lies there."""


_SWITCH = ["enabled", "disabled"]


class MetadataOptions(Open):
    """Of the instance metadata service."""

    http_endpoint: Annotated[str, Schema({"enum": _SWITCH}, default="enabled")] = "enabled"
    http_protocol_ipv6: Annotated[str, Schema({"enum": _SWITCH}, default="disabled")] = Field(
        default="disabled", alias="httpProtocolIPv6"
    )
    http_put_response_hop_limit: Annotated[
        int, Schema({"minimum": 1, "maximum": 64, "format": "int64"}, default=1)
    ] = 1
    http_tokens: Annotated[str, Schema({"enum": ["required", "optional"]}, default="required")] = (
        "required"
    )


_METADATA_DEFAULT = {
    "httpEndpoint": "enabled",
    "httpProtocolIPv6": "disabled",
    "httpPutResponseHopLimit": 1,
    "httpTokens": "required",
}


def _terms(name: str, *fields: str, required: bool = True) -> dict[str, object]:
    """The rules of a list of selector terms: none empty, and `id` alone where it is given."""
    listed = ", ".join(f"'{field}'" for field in fields)
    others = " || ".join(f"has(x.{field})" for field in fields if field != "id")
    found = (
        (
            f"self.all(x, {' || '.join(f'has(x.{field})' for field in fields)})",
            f"expected at least one, got none, [{listed}]",
        ),
        (
            f"!self.exists(x, has(x.id) && ({others}))",
            "'id' is mutually exclusive, cannot be set with a combination of other fields"
            f" in {name}",
        ),
    )
    empty = (("self.size() != 0", f"{name} cannot be empty"),) if required else ()
    return {"maxItems": 30, **rules(*empty, *found)}


class EC2NodeClassSpec(Open):
    """What instances are launched with."""

    model_config = ConfigDict(
        json_schema_extra={
            **OPEN,
            **rules(
                (
                    "has(self.role) != has(self.instanceProfile)",
                    "must specify exactly one of ['role', 'instanceProfile']",
                ),
                (
                    "has(self.amiFamily) || self.amiSelectorTerms.exists(x, has(x.alias))",
                    "must specify amiFamily if amiSelectorTerms does not contain an alias",
                ),
            ),
        }
    )

    subnet_selector_terms: Annotated[
        tuple[SubnetSelectorTerm, ...], Schema(_terms("subnetSelectorTerms", "tags", "id"))
    ]
    security_group_selector_terms: Annotated[
        tuple[SecurityGroupSelectorTerm, ...],
        Schema(_terms("securityGroupSelectorTerms", "tags", "id", "name")),
    ]
    ami_selector_terms: Annotated[
        tuple[AMISelectorTerm, ...],
        Schema(_terms("amiSelectorTerms", "tags", "id", "name", "alias", "ssmParameter")),
    ]
    capacity_reservation_selector_terms: Annotated[
        tuple[CapacityReservationSelectorTerm, ...],
        Schema(
            _terms(
                "capacityReservationSelectorTerms",
                "tags",
                "id",
                "instanceMatchCriteria",
                required=False,
            )
        ),
    ] = ()
    ami_family: Annotated[
        str,
        Schema(
            {
                "enum": [
                    "AL2",
                    "AL2023",
                    "Bottlerocket",
                    "Custom",
                    "Windows2019",
                    "Windows2022",
                    "Windows2025",
                ]
            }
        ),
    ] = ""
    """How user data is written; left out: that of the alias."""
    user_data: str = ""
    """Merged with what the node needs in order to join."""
    role: Annotated[str, Schema(rules(("self != ''", "role cannot be empty")))] = ""
    """IAM role of the nodes; an instance profile is made for it."""
    instance_profile: Annotated[
        str, Schema(rules(("self != ''", "instanceProfile cannot be empty")))
    ] = ""
    """An instance profile that exists, in place of a role."""
    tags: Annotated[dict[str, str], Schema(_TAGS)] = Field(default_factory=dict)
    """On top of those by which machines are told apart."""
    kubelet: KubeletConfiguration = KubeletConfiguration()
    block_device_mappings: Annotated[
        tuple[BlockDeviceMapping, ...],
        Schema(
            {
                "maxItems": 50,
                **rules(
                    (
                        "self.filter(x, has(x.rootVolume) ? x.rootVolume == true : false)"
                        ".size() <= 1",
                        "must have only one blockDeviceMappings with rootVolume",
                    )
                ),
            }
        ),
    ] = ()
    instance_store_policy: Annotated[str, Schema({"enum": ["RAID0"]})] = ""
    metadata_options: Annotated[MetadataOptions, Schema({}, default=_METADATA_DEFAULT)] = (
        MetadataOptions()
    )
    detailed_monitoring: bool | None = None
    associate_public_ip_address: bool | None = Field(default=None, alias="associatePublicIPAddress")
    context: str = ""


class EC2NodeClass(ApiObject):
    """Nodes that EC2 makes."""

    api_version: str = "karpenter.k8s.aws/v1"
    kind: str = "EC2NodeClass"
    spec: EC2NodeClassSpec
    status: NodeClassStatus = NodeClassStatus()
