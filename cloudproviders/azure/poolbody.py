"""What is asked of AKS for a claim: the body of the PUT (api 2026-08-01). Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders import selection
from cloudproviders.azure import images
from cloudproviders.azure.agentpools import (
    CLAIM_LABEL,
    CLAIM_TAG,
    CREATED_TAG,
    CREATION_LABEL,
    MACHINE_TYPE_LABEL,
    UID_LABEL,
    UID_TAG,
    zone_number,
)
from cloudproviders.azure.nodeclass import PoolClass
from cloudproviders.azure.settings import AzureSettings
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.selection import Choice
from kube.meta import Manifest
from kube.objects import Taint

MIG_ANNOTATION = "kaito.sh/gpu-instance-profile"
"""MIG1g … MIG7g on a claim, where its class does not say."""

_RESERVED_DOMAINS = ("kubernetes.io", "k8s.io", "kubernetes.azure.com", "karpenter.sh")
"""AKS refuses labels of these from users, or sets them itself; registration brings the rest."""
_KEPT_LABELS = frozenset({labels.NODEPOOL_LABEL})
_LABEL_LIMIT = 63


def body(
    claim: NodeClaim,
    choice: Choice,
    made_with: PoolClass,
    settings: AzureSettings,
    now: datetime,
) -> Manifest:
    """The body of the PUT; what is None stays out of it."""
    size, offering = choice
    properties: Manifest = {
        "vmSize": size.name,
        "count": 1,
        "mode": "User",
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "osSKU": images.os_sku(
            claim.metadata.annotations.get(images.IMAGE_FAMILY_ANNOTATION, ""),
            made_with.image_family,
        ),
        "osDiskSizeGB": _disk_gib(claim, made_with),
        "osDiskType": made_with.os_disk_type or None,
        "enableAutoScaling": False,
        "vnetSubnetID": made_with.subnet or None,
        "podSubnetID": made_with.pod_subnet or None,
        "maxPods": made_with.max_pods,
        "kubeletConfig": dict(made_with.kubelet) or None,
        "enableFIPS": made_with.fips,
        "enableEncryptionAtHost": made_with.encryption_at_host,
        "artifactStreamingProfile": (
            None
            if made_with.artifact_streaming is None
            else {"enabled": made_with.artifact_streaming}
        ),
        "proximityPlacementGroupID": made_with.placement_group or None,
        "nodeLabels": _node_labels(claim, size),
        "tags": {**made_with.tags, **_identity(claim, now)},
        **_taints(claim, settings),
        **_gpu(claim, size, made_with),
        **_placement(offering),
        **_price(size, offering, made_with, settings),
    }
    return {"properties": {k: v for k, v in properties.items() if v is not None}}


def _disk_gib(claim: NodeClaim, made_with: PoolClass) -> int:
    asks = selection.STORAGE in claim.spec.resources.requests
    if made_with.os_disk_gib is not None and not asks:
        return made_with.os_disk_gib
    return selection.disk_gib(claim)


def _identity(claim: NodeClaim, now: datetime) -> dict[str, str]:
    return {
        CLAIM_TAG: claim.metadata.name,
        UID_TAG: claim.metadata.uid,
        CREATED_TAG: now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _node_labels(claim: NodeClaim, size: InstanceType) -> dict[str, str]:
    """The claim's, but for those that AKS keeps for itself; then as gpu-provisioner has them.

    Kubernetes cannot change what is set here: AKS's webhook on Nodes refuses it.
    """
    kept = {
        key: value
        for key, value in claim.metadata.labels.items()
        if key in _KEPT_LABELS or _ours(key)
    }
    created = claim.metadata.creation_timestamp
    if created is not None:
        kept[CREATION_LABEL] = created.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    gpu = size.gpu.count or size.name.casefold().startswith("standard_n")
    kept[MACHINE_TYPE_LABEL] = "gpu" if gpu else "cpu"
    kept[UID_LABEL] = claim.metadata.uid
    if len(claim.metadata.name) <= _LABEL_LIMIT:
        kept[CLAIM_LABEL] = claim.metadata.name
    return kept


def _ours(label: str) -> bool:
    domain, has_domain, _ = label.partition("/")
    return not has_domain or not any(
        domain == each or domain.endswith(f".{each}") for each in _RESERVED_DOMAINS
    )


def _taints(claim: NodeClaim, settings: AzureSettings) -> Manifest:
    """What is in nodeTaints no controller can ever take off: AKS's webhook on Nodes refuses it
    (AKS release 2022-04-24). Taints that are to go need nodeInitializationTaints, a preview."""
    found: Manifest = {"nodeTaints": [str(_taint(each)) for each in claim.spec.taints] or None}
    if settings.initialization_taints:
        unregistered = Taint(key=labels.UNREGISTERED_TAINT, value="true", effect="NoExecute")
        found["nodeInitializationTaints"] = [
            *(str(_taint(each)) for each in claim.spec.startup_taints),
            str(unregistered),
        ]
    return found


def _taint(given: Any) -> Taint:
    return Taint(key=given.key, value=given.value, effect=given.effect)


def _gpu(claim: NodeClaim, size: InstanceType, made_with: PoolClass) -> Manifest:
    """AMD's sizes have no driver that AKS would install."""
    name = size.name.casefold()
    if not name.startswith("standard_n") or name.startswith("standard_ng"):
        return {}
    profile = made_with.gpu_instance_profile or claim.metadata.annotations.get(MIG_ANNOTATION)
    return {"gpuProfile": {"driver": made_with.gpu_driver}, "gpuInstanceProfile": profile or None}


def _placement(offering: Offering) -> Manifest:
    number = zone_number(offering.zone)
    return {"availabilityZones": [number] if number else None}


def _price(
    size: InstanceType, offering: Offering, made_with: PoolClass, settings: AzureSettings
) -> Manifest:
    if offering.capacity_type == labels.CAPACITY_SPOT:
        return {
            "scaleSetPriority": "Spot",
            "scaleSetEvictionPolicy": "Delete",
            "spotMaxPrice": made_with.spot_max_price,
        }
    if offering.capacity_type == labels.CAPACITY_RESERVED:
        group = made_with.reservation_group or settings.reservations.get(size.name, "")
        return {"capacityReservationGroupID": group or None}
    return {}
