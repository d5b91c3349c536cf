"""One node pool of one node per claim: its name and its order. Pure.

Field names are those of google.container.v1 NodePool and NodeConfig. Whose pool it is stands on it
as GCP labels, which also show up on the bill.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.gcp.nodeclass import Shape
from cloudproviders.gcp.pool import (
    ATTEMPT_KEY,
    CLAIM_KEY,
    CREATED_KEY,
    OWNER_KEY,
    PROVISIONER,
    UID_KEY,
    Pool,
)
from cloudproviders.selection import DEFAULT_DISK_GIB, STORAGE, Choice, disk_gib
from kube.meta import Manifest

POOL_LABEL = "cloud.google.com/gke-nodepool"
"""Put by GKE on every node of a pool."""

ACCELERATOR_LABEL = "cloud.google.com/gke-accelerator"
CLAIM_LABEL = "kaito.sh/nodeclaim"
PROVISIONER_LABEL = "kaito.sh/provisioner"
"""On nodes, so that all of ours are one list."""

IMAGE_ANNOTATION = "kaito.sh/node-image-family"
UBUNTU = "UBUNTU_CONTAINERD"

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
"""Of nodes; what they may do is decided by the roles of their service account."""

RESERVATION_KEY = "compute.googleapis.com/reservation-name"
NAME_LIMIT = 36
"""GKE takes 40 characters; the rest is for the number of the attempt."""

VALUE_LIMIT = 63
HYPERDISK_FAMILIES = ("a3-ultragpu-", "a4-", "a4x-", "g4-")
"""Machines that boot from hyperdisk-balanced alone (GKE's autoscaler, pkg/machinetypes)."""

_EFFECTS = {
    "NoSchedule": "NO_SCHEDULE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
}
_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_RESERVED_DOMAINS = ("kubernetes.io", "k8s.io", "cloud.google.com", "gke.io")
_NO_LABEL = re.compile(r"[^a-z0-9_-]")


def name_of(claim: NodeClaim, attempt: int = 1) -> str:
    """The claim's own name, where GKE takes it as a pool's; else as much of it as fits, and a hash.

    It depends on nothing that could have changed since, so that a second order hits the first.
    """
    return _first_name(claim.metadata.name) + (f"--{attempt}" if attempt > 1 else "")


def _first_name(name: str) -> str:
    if _NAME.match(name) and len(name) <= NAME_LIMIT:
        return name
    hashed = hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: NAME_LIMIT - 12].rstrip("-")
    return f"n-{kept}-{hashed}" if not kept[:1].isalpha() else f"{kept}-{hashed}"


def order(
    claim: NodeClaim,
    choice: Choice,
    shape: Shape,
    *,
    now: datetime,
    upgraded: bool = False,
    reservation: str = "",
    attempt: int = 1,
) -> Manifest:
    """The NodePool to create. `upgraded`: the cluster is on a release channel, which leaves no
    pool out; its upgrades then take the machine down first, as there is no second one to be had.
    `reservation` is what a `reserved` choice is taken from."""
    pool: Manifest = {
        "name": name_of(claim, attempt),
        "initial_node_count": 1,
        "locations": [choice.offering.zone],
        "config": _config(claim, choice, shape, now, reservation),
        "autoscaling": {"enabled": False},
        "management": {"auto_repair": False, "auto_upgrade": upgraded},
        "upgrade_settings": {"max_surge": 0, "max_unavailable": 1},
        "node_drain_config": {"respect_pdb_during_node_pool_deletion": False},
    }
    if attempt > 1:
        pool["config"]["resource_labels"][ATTEMPT_KEY] = str(attempt)
    if shape.max_pods:
        pool["max_pods_constraint"] = {"max_pods_per_node": shape.max_pods}
    if network := shape.network:
        pool["network_config"] = dict(network)
    if shape.placement:
        pool["placement_policy"] = dict(shape.placement)
    return pool


def ordered(pool: Manifest, version: str) -> Pool:
    """The pool as the next list will show it; new pools are of the control plane's version."""
    config = pool["config"]
    affinity = config.get("reservation_affinity", {}).get("consume_reservation_type", "")
    return Pool(
        name=pool["name"],
        state="PROVISIONING",
        version=version,
        machine_type=config["machine_type"],
        image_type=config["image_type"],
        spot=config.get("spot", False),
        reserved=affinity == "SPECIFIC_RESERVATION",
        partition=next(
            (a.get("gpu_partition_size", "") for a in config.get("accelerators", ())), ""
        ),
        zones=tuple(pool["locations"]),
        resource_labels=config["resource_labels"],
        metadata=config["metadata"],
    )


def image_type(claim: NodeClaim, shape: Shape) -> str:
    """KAITO's `ubuntu` is honoured; its Azure Linux is not to be had here."""
    family = claim.metadata.annotations.get(IMAGE_ANNOTATION, "").lower()
    return UBUNTU if family == "ubuntu" else shape.image_type


def _config(
    claim: NodeClaim, choice: Choice, shape: Shape, now: datetime, reservation: str
) -> Manifest:
    machine, kind = choice.instance_type.name, choice.offering.capacity_type
    image = image_type(claim, shape)
    config: Manifest = {
        "machine_type": machine,
        "image_type": image,
        "disk_size_gb": _disk(claim, shape),
        "disk_type": shape.disk_type or _disk_type(machine),
        "oauth_scopes": list(SCOPES),
        "labels": _node_labels(claim, kind),
        "taints": _taints(claim),
        "resource_labels": _resource_labels(claim, shape, now),
        "metadata": {
            "disable-legacy-endpoints": "true",
            **shape.metadata,
            CLAIM_KEY: claim.metadata.name,
        },
        "tags": list(shape.network_tags),
        "spot": kind == labels.CAPACITY_SPOT,
        "gvnic": {"enabled": True},
        **shape.node_config,
    }
    if shape.service_account:
        config["service_account"] = shape.service_account
    if accelerator := choice.instance_type.labels.get(ACCELERATOR_LABEL):
        config["accelerators"] = [_accelerator(accelerator, choice, shape, image)]
    if kind == labels.CAPACITY_RESERVED:
        config["reservation_affinity"] = {
            "consume_reservation_type": "SPECIFIC_RESERVATION",
            "key": RESERVATION_KEY,
            "values": [reservation],
        }
    if shape.flex_start and kind == labels.CAPACITY_ON_DEMAND:
        config["flex_start"] = True
        config["reservation_affinity"] = {"consume_reservation_type": "NO_RESERVATION"}
    if shape.max_run_seconds:
        config["max_run_duration"] = {"seconds": shape.max_run_seconds}
    return config


def _accelerator(kind: str, choice: Choice, shape: Shape, image: str) -> Manifest:
    """LATEST is for Container-Optimized OS alone."""
    driver = shape.gpu_driver
    if image == UBUNTU and driver == "LATEST":
        driver = "DEFAULT"
    found: Manifest = {
        "accelerator_type": kind,
        "accelerator_count": choice.instance_type.gpu.count,
        "gpu_driver_installation_config": {"gpu_driver_version": driver},
    }
    if shape.gpu_partition:
        found["gpu_partition_size"] = shape.gpu_partition
    if shape.gpu_sharing:
        found["gpu_sharing_config"] = dict(shape.gpu_sharing)
    return found


def _disk(claim: NodeClaim, shape: Shape) -> int:
    """What the claim asks for, else its class, else KAITO's default."""
    if STORAGE in claim.spec.resources.requests:
        return disk_gib(claim)
    return shape.disk_gib or DEFAULT_DISK_GIB


def _disk_type(machine: str) -> str:
    return "hyperdisk-balanced" if machine.startswith(HYPERDISK_FAMILIES) else "pd-balanced"


def _node_labels(claim: NodeClaim, capacity_type: str) -> dict[str, str]:
    """Those that a kubelet may give itself; registration brings the others."""
    name = claim.metadata.name
    return {
        **{key: value for key, value in claim.metadata.labels.items() if _free(key)},
        labels.CAPACITY_TYPE_LABEL: capacity_type,
        PROVISIONER_LABEL: PROVISIONER,
        **({CLAIM_LABEL: name} if len(name) <= VALUE_LIMIT else {}),
    }


def _free(key: str) -> bool:
    domain, _, name = key.rpartition("/")
    return bool(name) and not any(
        domain == each or domain.endswith(f".{each}") for each in _RESERVED_DOMAINS
    )


def _taints(claim: NodeClaim) -> list[dict[str, str]]:
    unregistered = (labels.UNREGISTERED_TAINT, "", "NoExecute")
    asked = [
        (taint.key, taint.value, taint.effect)
        for taint in (*claim.spec.taints, *claim.spec.startup_taints)
    ]
    wanted: dict[tuple[str, str], str] = {}
    for key, value, effect in (*asked, unregistered):
        wanted.setdefault((key, effect), value)
    return [
        {"key": key, "value": value, "effect": _EFFECTS[effect]}
        for (key, effect), value in wanted.items()
    ]


def _resource_labels(claim: NodeClaim, shape: Shape, now: datetime) -> dict[str, str]:
    return {
        **{_label(key): _label(value) for key, value in shape.resource_labels.items()},
        OWNER_KEY: PROVISIONER,
        CLAIM_KEY: _label(claim.metadata.name),
        UID_KEY: claim.metadata.uid.lower(),
        CREATED_KEY: str(int(now.timestamp())),
    }


def _label(text: str) -> str:
    """As GCP labels have it: lower case, digits, `_` and `-`, at most 63."""
    return _NO_LABEL.sub("-", text.lower())[:VALUE_LIMIT]
