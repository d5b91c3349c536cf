"""GCENodeClass (karpenter.k8s.gcp/v1alpha1): how Google makes a node.

Names and bounds are those of karpenter-provider-gcp. What GKE's node pools can do beyond it
(`zones`, `gpuPartitionSize`, `gpuSharing`, `reservationAffinity`, `flexStart`, `maxRunDuration`,
`placementPolicy`) is ours, named as in GKE's API.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from apis.karpenter.nodeclasses.parts import KubeletConfiguration, NodeClassStatus, Open
from apis.karpenter.v1 import schema
from apis.model import ApiObject, Schema, rules

_ACCOUNT = {
    "pattern": r"^[^@]+@(developer\.gserviceaccount\.com|[^@]+\.iam\.gserviceaccount\.com)$"
}
_NAME = {"minLength": 1, "maxLength": 63, "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}
_CATEGORIES = [
    "hyperdisk-balanced",
    "hyperdisk-balanced-high-availability",
    "hyperdisk-extreme",
    "hyperdisk-ml",
    "hyperdisk-throughput",
    "local-ssd",
    "pd-balanced",
    "pd-extreme",
    "pd-ssd",
    "pd-standard",
]
_OWN_LABELS = (
    "gce:gce-cluster-name",
    "karpenter.sh/nodepool",
    "karpenter.sh/nodeclaim",
    "karpenter.k8s.gcp/gcenodeclass",
)
_LABELS = {
    "maxProperties": 20,
    **rules(
        ("self.all(k, k != '')", "empty tag keys aren't supported"),
        *(
            (f"self.all(k, k != '{each}')", f"tag contains a restricted tag matching {each}")
            for each in _OWN_LABELS
        ),
    ),
}


class Disk(Open):
    """A disk of the machine; the one with `boot` carries the system."""

    size_gib: Annotated[
        int, Schema({"format": "int32", **rules(("self >= 10", "size invalid"))})
    ] = Field(default=100, alias="sizeGiB")
    category: Annotated[str, Schema({"enum": _CATEGORIES})] = ""
    boot: bool = False
    kms_key_name: str = Field(default="", alias="kmsKeyName")
    provisioned_iops: Annotated[int | None, Schema({"format": "int64"})] = Field(
        default=None, alias="provisionedIOPS"
    )
    provisioned_throughput: Annotated[int | None, Schema({"format": "int64"})] = None
    """MiB a second."""
    secondary_boot_image: str = ""
    """An image with container images in it (`global/images/…`)."""
    secondary_boot_mode: Annotated[
        str, Schema({"enum": ["MODE_UNSPECIFIED", "CONTAINER_IMAGE_CACHE"]})
    ] = ""


class ImageSelectorTerm(Open):
    """An image: `ContainerOptimizedOS@latest`, a family and version, or an id."""

    alias: Annotated[str, Schema({"maxLength": 60})] = ""
    family: Annotated[
        str, Schema({"enum": ["ContainerOptimizedOS", "Ubuntu", "Ubuntu2204", "Ubuntu2404"]})
    ] = ""
    version: str = ""
    channel: str = ""
    id: Annotated[str, Schema({"maxLength": 160})] = ""


class ShieldedInstanceConfig(Open):
    """Of a shielded VM."""

    enable_secure_boot: bool | None = None
    enable_vtpm: bool | None = None
    enable_integrity_monitoring: bool | None = None


class AdditionalNetworkInterface(Open):
    """A further network of the machine."""

    network: str = ""
    subnetwork: Annotated[str, Schema({"minLength": 1})]


class NetworkConfig(Open):
    """Of the machine's interfaces."""

    enable_private_nodes: bool | None = None
    subnetwork: str = ""
    additional_network_interfaces: Annotated[
        tuple[AdditionalNetworkInterface, ...], Schema({"maxItems": 7})
    ] = ()


class GPUSharing(Open):
    """One GPU for several pods."""

    strategy: Annotated[str, Schema({"enum": ["TIME_SHARING", "MPS"]})]
    max_shared_clients_per_gpu: Annotated[
        int, Schema({"minimum": 2, "maximum": 48, "format": "int64"})
    ] = Field(default=2, alias="maxSharedClientsPerGPU")


class ReservationAffinity(Open):
    """Which reservation machines are taken from."""

    consume_reservation_type: Annotated[
        str, Schema({"enum": ["NO_RESERVATION", "ANY_RESERVATION", "SPECIFIC_RESERVATION"]})
    ]
    key: str = ""
    """`compute.googleapis.com/reservation-name` for a specific one."""
    values: tuple[str, ...] = ()


class PlacementPolicy(Open):
    """Where machines stand to each other."""

    type: Annotated[str, Schema({"enum": ["COMPACT"]})] = ""
    policy_name: str = ""


class GCENodeClassSpec(Open):
    """What machines are made with."""

    service_account: Annotated[str, Schema(_ACCOUNT)] = ""
    """Left out: the cluster's."""
    disks: Annotated[tuple[Disk, ...], Schema({"maxItems": 10})] = ()
    image_selector_terms: Annotated[tuple[ImageSelectorTerm, ...], Schema({"maxItems": 30})] = ()
    image_family: Annotated[
        str, Schema({"enum": ["ContainerOptimizedOS", "Ubuntu", "Ubuntu2204", "Ubuntu2404"]})
    ] = ""
    subnet_range_name: Annotated[str, Schema(_NAME)] = ""
    """The secondary range that pods get their addresses from; left out: the cluster's."""
    kubelet_configuration: KubeletConfiguration = KubeletConfiguration()
    labels: Annotated[dict[str, str], Schema(_LABELS)] = Field(default_factory=dict)
    """Of the machines, on top of those by which they are told apart."""
    network_tags: Annotated[
        tuple[Annotated[str, Schema(_NAME)], ...], Schema({"maxItems": 20})
    ] = ()
    metadata: dict[str, str] = Field(default_factory=dict)
    shielded_instance_config: ShieldedInstanceConfig = ShieldedInstanceConfig()
    confidential_instance_type: Annotated[str, Schema({"enum": ["SEV", "SEV_SNP", "TDX"]})] = ""
    network_config: NetworkConfig = NetworkConfig()
    auto_gpu_taint: bool = Field(default=False, alias="autoGPUTaint")
    """Whether GPU nodes get `nvidia.com/gpu=present:NoSchedule` without being asked."""
    gpu_driver_version: Annotated[
        str, Schema({"enum": ["default", "latest", "disabled"]}, default="default")
    ] = "default"
    """Which driver GKE installs; disabled: somebody else does."""
    gpu_partition_size: str = ""
    """How each GPU is cut (MIG), as `1g.5gb`."""
    gpu_sharing: GPUSharing | None = None
    zones: tuple[str, ...] = ()
    """Where machines may stand; left out: where the cluster has nodes."""
    reservation_affinity: ReservationAffinity | None = None
    placement_policy: PlacementPolicy | None = None
    flex_start: bool = False
    """Wait for the machine in Google's queue (Dynamic Workload Scheduler)."""
    max_run_duration: Annotated[str, Schema({"pattern": schema.DURATION})] = ""
    """After which Google takes the machine away."""


class GCENodeClass(ApiObject):
    """Nodes that Google makes."""

    api_version: str = "karpenter.k8s.gcp/v1alpha1"
    kind: str = "GCENodeClass"
    spec: GCENodeClassSpec = GCENodeClassSpec()
    status: NodeClassStatus = NodeClassStatus()
