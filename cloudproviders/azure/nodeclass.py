"""AKSNodeClass, or the operator's own settings, as what pools are made with. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from apis.karpenter.nodeclasses.aks import AKSNodeClassSpec
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.azure import images
from cloudproviders.azure.settings import AzureSettings
from cloudproviders.nodeclass import (
    NodeClass,
    NodeClassCondition,
    NodeClassStatus,
    static_hash,
)
from cloudproviders.provider import GroupKind
from kube.meta import Manifest, Resource

KAITO_CLASS = GroupKind("kaito.sh", "KaitoNodeClass")
AKS_CLASS = GroupKind("karpenter.azure.com", "AKSNodeClass")
AKS_NODE_CLASSES: Resource[NodeClass] = Resource(
    "karpenter.azure.com", "v1beta1", "AKSNodeClass", "aksnodeclasses", NodeClass, namespaced=False
)

_SUBNET = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/[^/]+/providers/Microsoft\.Network/virtualNetworks"
    r"/[^/]+/subnets/[^/]+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolClass:
    """What the pools of a class have in common; "" and None are left to AKS."""

    subnet: str = ""
    pod_subnet: str = ""
    os_disk_gib: int | None = None
    """For claims that ask for no `storage`; None: KAITO's default."""
    os_disk_type: str = ""
    image_family: str = ""
    fips: bool | None = None
    gpu_driver: str = "Install"
    gpu_instance_profile: str = ""
    max_pods: int | None = None
    kubelet: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    encryption_at_host: bool | None = None
    artifact_streaming: bool | None = None
    spot_max_price: float = -1.0
    """US dollars an hour; -1: up to the price of on-demand."""
    reservation_group: str = ""
    placement_group: str = ""


def of_settings(settings: AzureSettings) -> PoolClass:
    """For claims whose class is a mere name."""
    return PoolClass(
        subnet=settings.subnet,
        pod_subnet=settings.pod_subnet,
        os_disk_type=settings.os_disk_type,
        gpu_driver=settings.gpu_driver,
        tags=settings.tags,
    )


def of_class(node_class: NodeClass, settings: AzureSettings) -> PoolClass:
    """What the class says, over what the operator says. ValueError where it cannot be read."""
    spec = _spec(node_class)
    kubelet = spec.kubelet
    asked = {
        "imageGcHighThreshold": kubelet.image_gc_high_threshold_percent,
        "imageGcLowThreshold": kubelet.image_gc_low_threshold_percent,
        "cpuCfsQuota": kubelet.cpu_cfs_quota,
    }
    return PoolClass(
        subnet=spec.vnet_subnet_id or settings.subnet,
        pod_subnet=spec.pod_subnet_id or settings.pod_subnet,
        os_disk_gib=spec.os_disk_size_gb,
        os_disk_type=spec.os_disk_type or settings.os_disk_type,
        image_family=spec.image_family,
        fips=spec.fips_mode == "FIPS" if spec.fips_mode else None,
        gpu_driver="None" if spec.gpu.mode == "None" else "Install",
        gpu_instance_profile=spec.gpu.instance_profile,
        max_pods=spec.max_pods or kubelet.max_pods,
        kubelet={name: value for name, value in asked.items() if value is not None},
        tags={**settings.tags, **spec.tags},
        encryption_at_host=spec.security.encryption_at_host,
        artifact_streaming=spec.artifact_streaming.enabled,
        spot_max_price=float(spec.spot_max_price or -1),
        reservation_group=spec.capacity_reservation_group_id,
        placement_group=spec.proximity_placement_group_id,
    )


def judged(
    node_class: NodeClass, settings: AzureSettings, kubernetes_version: str
) -> NodeClassStatus:
    """What can be said of a class from here; whether its subnet exists only ARM's network side
    could tell, for which the provisioner has no permission."""
    try:
        made = of_class(node_class, settings)
    except ValueError as error:
        broken = NodeClassCondition("ValidationSucceeded", "False", "Unreadable", str(error))
        return NodeClassStatus(conditions=(broken,))
    named = (made.subnet, made.pod_subnet)
    wrong = [each for each in named if each and not _SUBNET.fullmatch(each)]
    subnets = (
        NodeClassCondition("SubnetsReady", "False", "SubnetIDInvalid", f"{wrong[0]} is no subnet")
        if wrong
        else NodeClassCondition("SubnetsReady", "True")
    )
    return NodeClassStatus(
        conditions=(
            NodeClassCondition("ValidationSucceeded", "True"),
            subnets,
            NodeClassCondition("ImagesReady", "True"),
            NodeClassCondition("KubernetesVersionReady", "True"),
        ),
        fields={
            "kubernetesVersion": kubernetes_version,
            "images": [{"id": images.os_sku("", made.image_family)}],
        },
        hash=static_hash(node_class.spec, without=("tags",)),
    )


def _spec(node_class: NodeClass) -> AKSNodeClassSpec:
    spec: Manifest = node_class.spec
    try:
        return AKSNodeClassSpec.model_validate(spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"spec.{where}: {first['msg']}") from error


def drift(
    node_class: NodeClass,
    claim: NodeClaim,
    properties: Mapping[str, object],
    settings: AzureSettings,
) -> str:
    """Why a pool is no longer what its class asks for; "" if it is, or nobody can tell.

    Changed fields of the class are found out by its hash. Here is what the class does not say in so
    many words: the image that its family stands for.
    """
    try:
        family = of_class(node_class, settings).image_family
    except ValueError:
        return ""
    annotation = claim.metadata.annotations.get(images.IMAGE_FAMILY_ANNOTATION, "")
    has = properties.get("osSKU")
    return "ImageDrift" if has and has != images.os_sku(annotation, family) else ""
