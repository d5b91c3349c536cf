"""GCENodeClass, and the provisioner's own settings, as what a node pool is made with. Pure.

The class is karpenter-provider-gcp's, which makes bare machines; GKE's node pools know most of it
by other names, and cannot do the rest (`problems`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apis.karpenter.nodeclasses.gce import Disk, GCENodeClassSpec
from cloudproviders.gcp.settings import DRIVERS, IMAGES, GcpSettings
from cloudproviders.nodeclass import NodeClass, NodeClassCondition, NodeClassStatus, static_hash
from kube.meta import Resource

GCE_NODE_CLASSES: Resource[NodeClass] = Resource(
    "karpenter.k8s.gcp", "v1alpha1", "GCENodeClass", "gcenodeclasses", NodeClass, namespaced=False
)

FAMILIES = {
    "ContainerOptimizedOS": IMAGES["cos"],
    "Ubuntu": IMAGES["ubuntu"],
    "Ubuntu2204": IMAGES["ubuntu"],
    "Ubuntu2404": IMAGES["ubuntu"],
}
"""Image family of the class → NodeConfig.imageType; the version of the image is the cluster's."""

NO_DRIFT = ("labels", "networkTags", "zones")
"""Fields of the class whose change makes no machine drift: a node keeps what it was born with."""

_SECONDS = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a pool is made with beyond what its claim says. `node_config` and `network` are fields
    of container/v1 as they stand."""

    image_type: str
    gpu_driver: str
    service_account: str = ""
    disk_type: str = ""
    disk_gib: int = 0
    gpu_partition: str = ""
    gpu_sharing: Mapping[str, Any] = field(default_factory=dict)
    network_tags: tuple[str, ...] = ()
    resource_labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    zones: tuple[str, ...] = ()
    reservations: tuple[str, ...] = ()
    flex_start: bool = False
    max_run_seconds: int = 0
    max_pods: int = 0
    placement: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    node_config: Mapping[str, Any] = field(default_factory=dict)


def of_settings(settings: GcpSettings) -> Shape:
    """For claims without a class of ours."""
    return Shape(
        image_type=settings.image_type,
        gpu_driver=settings.gpu_driver,
        service_account=settings.service_account,
        disk_type=settings.disk_type,
        network_tags=settings.network_tags,
        zones=settings.zones,
        reservations=settings.reservations,
        flex_start=settings.flex_start,
        max_run_seconds=settings.max_run_duration,
    )


def of_class(node_class: NodeClass, settings: GcpSettings) -> Shape:
    """The class over the settings. ValueError where the spec is none (the CRD keeps that out)."""
    spec = GCENodeClassSpec.model_validate(node_class.spec)
    disk = _boot_disk(spec)
    affinity = spec.reservation_affinity
    return Shape(
        image_type=FAMILIES.get(_family(spec), settings.image_type),
        gpu_driver=DRIVERS[spec.gpu_driver_version],
        service_account=spec.service_account or settings.service_account,
        disk_type=(disk.category if disk else "") or settings.disk_type,
        disk_gib=disk.size_gib if disk else 0,
        gpu_partition=spec.gpu_partition_size,
        gpu_sharing={
            "gpu_sharing_strategy": spec.gpu_sharing.strategy,
            "max_shared_clients_per_gpu": spec.gpu_sharing.max_shared_clients_per_gpu,
        }
        if spec.gpu_sharing
        else {},
        network_tags=spec.network_tags or settings.network_tags,
        resource_labels=spec.labels,
        metadata=spec.metadata,
        zones=spec.zones or settings.zones,
        reservations=affinity.values
        if affinity and affinity.consume_reservation_type == "SPECIFIC_RESERVATION"
        else settings.reservations,
        flex_start=spec.flex_start or settings.flex_start,
        max_run_seconds=seconds(spec.max_run_duration) or settings.max_run_duration,
        max_pods=spec.kubelet_configuration.max_pods or 0,
        placement=_placement(spec),
        network=_network(spec),
        node_config=_node_config(spec, disk),
    )


def status(node_class: NodeClass) -> NodeClassStatus:
    """What can be told of a class without asking Google."""
    return NodeClassStatus(
        conditions=_conditions(node_class),
        hash=static_hash(node_class.spec, without=NO_DRIFT),
    )


def _conditions(node_class: NodeClass) -> Sequence[NodeClassCondition]:
    try:
        spec = GCENodeClassSpec.model_validate(node_class.spec)
    except ValueError as error:
        told = str(error).splitlines()[0]
        return (NodeClassCondition("ValidationSucceeded", "False", "Invalid", told),)
    found = list(problems(spec))
    return (
        NodeClassCondition("ValidationSucceeded", "False", "Unsupported", "; ".join(found))
        if found
        else NodeClassCondition("ValidationSucceeded", "True"),
    )


def problems(spec: GCENodeClassSpec) -> Iterator[str]:
    """What the class asks for and a GKE node pool cannot do."""
    if any(term.id for term in spec.image_selector_terms):
        yield "imageSelectorTerms: id: node pools take an image family"
    if any(_pinned(term.alias, term.version) for term in spec.image_selector_terms):
        yield "imageSelectorTerms: the version of a node pool's image follows the cluster's"
    if len([disk for disk in spec.disks if disk.boot]) > 1:
        yield "disks: more than one has boot"
    if any(not disk.boot and disk.category == "local-ssd" for disk in spec.disks):
        yield "disks: local-ssd: machine types with GPUs bring their own"
    if spec.network_config.subnetwork:
        yield "networkConfig.subnetwork: node pools stand in the cluster's"
    if spec.network_config.additional_network_interfaces:
        yield "networkConfig.additionalNetworkInterfaces: needs networks of the cluster"
    affinity = spec.reservation_affinity
    if affinity and affinity.consume_reservation_type == "SPECIFIC_RESERVATION":
        if not affinity.values:
            yield "reservationAffinity: SPECIFIC_RESERVATION needs values"
        if spec.flex_start:
            yield "flexStart: takes nothing from a reservation"


def seconds(duration: str) -> int:
    """`1h30m` → 5400; 0 for none."""
    return sum(
        int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([smh])", duration)
    )


def _family(spec: GCENodeClassSpec) -> str:
    term = next(iter(spec.image_selector_terms), None)
    named = (term.alias.partition("@")[0] or term.family) if term else ""
    return named or spec.image_family


def _pinned(alias: str, version: str) -> bool:
    _, _, of_alias = alias.partition("@")
    return any(each not in {"", "latest"} for each in (of_alias, version))


def _boot_disk(spec: GCENodeClassSpec) -> Disk | None:
    return next((disk for disk in spec.disks if disk.boot), None)


def _placement(spec: GCENodeClassSpec) -> dict[str, Any]:
    if (policy := spec.placement_policy) is None:
        return {}
    named = {"policy_name": policy.policy_name} if policy.policy_name else {}
    return {**({"type_": policy.type} if policy.type else {}), **named}


def _network(spec: GCENodeClassSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if spec.subnet_range_name:
        found["pod_range"] = spec.subnet_range_name
    if spec.network_config.enable_private_nodes is not None:
        found["enable_private_nodes"] = spec.network_config.enable_private_nodes
    return found


def _node_config(spec: GCENodeClassSpec, disk: Disk | None) -> dict[str, Any]:
    """Fields of NodeConfig that are the same thing under another name."""
    found: dict[str, Any] = {}
    shielded = {
        "enable_secure_boot": spec.shielded_instance_config.enable_secure_boot,
        "enable_integrity_monitoring": spec.shielded_instance_config.enable_integrity_monitoring,
    }
    if told := {key: value for key, value in shielded.items() if value is not None}:
        found["shielded_instance_config"] = told
    if spec.confidential_instance_type:
        found["confidential_nodes"] = {
            "enabled": True,
            "confidential_instance_type": spec.confidential_instance_type,
        }
    if disk and disk.kms_key_name:
        found["boot_disk_kms_key"] = disk.kms_key_name
    caches = [
        {"disk_image": each.secondary_boot_image, "mode": "CONTAINER_IMAGE_CACHE"}
        for each in spec.disks
        if each.secondary_boot_image
    ]
    if caches:
        found["secondary_boot_disks"] = caches
    affinity = spec.reservation_affinity
    if affinity and affinity.consume_reservation_type != "SPECIFIC_RESERVATION":
        found["reservation_affinity"] = {
            "consume_reservation_type": affinity.consume_reservation_type
        }
    return found
