"""AKSNodeClass (karpenter.azure.com/v1beta1): how AKS makes a node.

Names and bounds are those of karpenter-provider-azure; `osDiskType`, `spotMaxPrice`,
`podSubnetID`, `capacityReservationGroupID`, `proximityPlacementGroupID` and `gpu.instanceProfile`
are ours, named as AKS's agent pools have them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from apis.karpenter.nodeclasses.parts import KubeletConfiguration, NodeClassStatus, Open
from apis.model import ApiObject, Schema, rules

_SUBNET = {
    "pattern": (
        r"(?i)^\/subscriptions\/[^\/]+\/resourceGroups\/[a-zA-Z0-9_\-().]{0,89}[a-zA-Z0-9_\-()]"
        r"\/providers\/Microsoft\.Network\/virtualNetworks\/[^\/]+\/subnets\/[^\/]+$"
    )
}
_TAGS = rules(
    ("self.all(k, size(k) <= 512)", "tags keys must be less than 512 characters"),
    (
        "self.all(k, !k.matches('[<>%&?]'))",
        "tags keys must not contain '<', '>', '%', '&', or '?'",
    ),
    ("self.all(k, size(self[k]) <= 256)", "tags values must be less than 256 characters"),
)


class AKSGPU(Open):
    """Who looks after the GPUs."""

    mode: Annotated[str, Schema({"enum": ["Driver", "None"]}, default="Driver")] = "Driver"
    """Driver: AKS installs it. None: somebody else does (the GPU operator)."""
    instance_profile: Annotated[
        str, Schema({"enum": ["MIG1g", "MIG2g", "MIG3g", "MIG4g", "MIG7g"]})
    ] = ""
    """How each GPU is cut (MIG); left out: not at all."""


class AKSSecurity(Open):
    """Of the machine."""

    encryption_at_host: bool | None = None


class AKSSwitch(Open):
    """Something that is on or off."""

    enabled: bool | None = None


class AKSNodeClassSpec(Open):
    """What agent pools are made with."""

    vnet_subnet_id: Annotated[str, Schema(_SUBNET)] = Field(default="", alias="vnetSubnetID")
    """Left out: the cluster's."""
    pod_subnet_id: Annotated[str, Schema(_SUBNET)] = Field(default="", alias="podSubnetID")
    os_disk_size_gb: Annotated[
        int, Schema({"minimum": 30, "maximum": 2048, "format": "int32"}, default=128)
    ] = Field(default=128, alias="osDiskSizeGB")
    """For claims that do not ask for `storage` themselves."""
    os_disk_type: Annotated[str, Schema({"enum": ["Managed", "Ephemeral"]})] = ""
    """Left out: as AKS thinks best for the size."""
    image_family: Annotated[
        str,
        Schema({"enum": ["Ubuntu", "Ubuntu2204", "Ubuntu2404", "AzureLinux"]}, default="Ubuntu"),
    ] = "Ubuntu"
    fips_mode: Annotated[str, Schema({"enum": ["FIPS", "Disabled"]})] = ""
    gpu: AKSGPU = AKSGPU()
    max_pods: Annotated[int | None, Schema({"minimum": 10, "maximum": 250, "format": "int32"})] = (
        None
    )
    """Left out: as AKS thinks best for the network plugin."""
    kubelet: KubeletConfiguration = KubeletConfiguration()
    tags: Annotated[dict[str, str], Schema(_TAGS)] = Field(default_factory=dict)
    """On top of those by which machines are told apart."""
    security: AKSSecurity = AKSSecurity()
    artifact_streaming: AKSSwitch = AKSSwitch()
    spot_max_price: Annotated[str, Schema({"pattern": r"^(-1|[0-9]+(\.[0-9]{1,5})?)$"})] = "-1"
    """US dollars an hour that a spot machine may cost; -1: up to the price of on-demand."""
    capacity_reservation_group_id: str = Field(default="", alias="capacityReservationGroupID")
    proximity_placement_group_id: str = Field(default="", alias="proximityPlacementGroupID")


class AKSNodeClass(ApiObject):
    """Nodes that AKS makes."""

    api_version: str = "karpenter.azure.com/v1beta1"
    kind: str = "AKSNodeClass"
    spec: AKSNodeClassSpec = AKSNodeClassSpec()
    status: NodeClassStatus = NodeClassStatus()
