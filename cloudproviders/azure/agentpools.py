"""Claims ↔ agent pools (api 2026-08-01): one pool of one machine a claim. Pure.

The pool's tags say whose it is. `/` may not stand in a tag's name; Karpenter's Azure provider
writes `_` for it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from apis.kaito.v1beta1.labels import RAGENGINE_LABEL, WORKSPACE_LABEL
from apis.karpenter.v1 import labels
from cloudproviders.azure.errors import Refusal
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.provider import Instance
from kube.meta import ObjectMeta
from kube.objects import Node

CLAIM_TAG = "kaito.sh_nodeclaim"
UID_TAG = "kaito.sh_nodeclaim-uid"
CREATED_TAG = "kaito.sh_created"
CLAIM_LABEL = "kaito.sh/nodeclaim"
UID_LABEL = "kaito.sh/nodeclaim-uid"
POOL_LABEL = "kubernetes.azure.com/agentpool"
"""AKS's own, on every Node."""

CREATION_LABEL = "kaito.sh/creation-timestamp"
MACHINE_TYPE_LABEL = "kaito.sh/machine-type"
CREATING, UPDATING, SUCCEEDED = "Creating", "Updating", "Succeeded"
DELETING, CANCELING = "Deleting", "Canceling"
FAILED, CANCELED = "Failed", "Canceled"
GOING = frozenset({DELETING, CANCELING})
AT_REST = frozenset({SUCCEEDED, FAILED, CANCELED})

POOL_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
_SCALE_SET = re.compile(
    r"azure:///subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Compute"
    r"/virtualMachineScaleSets/aks-([a-z][a-z0-9]*)-\d+-vmss/virtualMachines/\d+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPool:
    """A pool as ARM tells it. `etag` "" where it is not known to be the pool's of now."""

    name: str
    state: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    etag: str = ""

    @property
    def busy(self) -> bool:
        return self.state not in AT_REST

    @property
    def size(self) -> str:
        return str(self.properties.get("vmSize", ""))

    @property
    def tags(self) -> Mapping[str, str]:
        return self.properties.get("tags") or {}

    @property
    def claim_name(self) -> str:
        return self.tags.get(CLAIM_TAG, "")

    @property
    def claim_uid(self) -> str:
        return self.tags.get(UID_TAG, "")

    @property
    def node_labels(self) -> Mapping[str, str]:
        return self.properties.get("nodeLabels") or {}

    @property
    def predecessors(self) -> bool:
        """Made by the Go gpu-provisioner, which names a pool as its claim and leaves no tags."""
        carried = self.node_labels
        return (
            not self.claim_uid
            and CREATION_LABEL in carried
            and (WORKSPACE_LABEL in carried or RAGENGINE_LABEL in carried)
        )

    @property
    def zone(self) -> str:
        return next(iter(self.properties.get("availabilityZones") or ()), "")

    @property
    def capacity_type(self) -> str:
        if self.properties.get("scaleSetPriority") == "Spot":
            return labels.CAPACITY_SPOT
        if self.properties.get("capacityReservationGroupID"):
            return labels.CAPACITY_RESERVED
        return labels.CAPACITY_ON_DEMAND

    def become(self, state: str) -> AgentPool:
        """As it will be after what we have just asked for; what its etag will be nobody knows."""
        return replace(self, state=state, etag="")

    @property
    def failure(self) -> Refusal:
        """Why it is Failed; without a word from AKS, just that."""
        error = (self.properties.get("status") or {}).get("provisioningError")
        return refusal(error) if error else Refusal("ProvisioningFailed", "Azure gives no reason")


def refusal(error: Mapping[str, Any], *, status: int = 0, wait: float | None = None) -> Refusal:
    """ARM's error object (`code`, `message`, `details`) as a value."""
    return Refusal(
        str(error.get("code") or "Unknown"),
        str(error.get("message") or ""),
        status,
        tuple(refusal(each) for each in error.get("details") or ()),
        wait,
    )


def pool_name(claim: ObjectMeta) -> str:
    """The claim's own where AKS allows it, else made of the claim's uid; always the same."""
    if POOL_NAME.fullmatch(claim.name):
        return claim.name
    digest = hashlib.sha256(f"{claim.name}/{claim.uid}".encode()).digest()
    return "k" + base64.b32encode(digest).decode().lower()[:11]


def pool_of(provider_id: str) -> str:
    """The name of the pool that a machine belongs to; "" for machines of anything else."""
    found = _SCALE_SET.fullmatch(provider_id)
    return found[1].lower() if found else ""


def belongs(pool: AgentPool, claim: ObjectMeta) -> bool:
    """Whose pool it is, tags tell by uid; without any, the Go provisioner's labels by workspace."""
    if pool.claim_uid:
        return pool.claim_uid == claim.uid
    return pool.predecessors and all(
        claim.labels.get(label) == pool.node_labels.get(label)
        for label in (WORKSPACE_LABEL, RAGENGINE_LABEL)
    )


def zone_number(zone: str) -> str:
    """`eastus-1`, as Nodes are labelled, → `1`, as pools are asked for."""
    return zone.rpartition("-")[2]


def instance(
    pool: AgentPool,
    size: InstanceType | None,
    location: str,
    node: Node | None,
    provider_id: str = "",
) -> Instance:
    """The pool's machine; which it is, the Node tells once it has joined, unless it is known."""
    zone = f"{location}-{pool.zone}" if pool.zone else ""
    offering = Offering(zone=zone, capacity_type=pool.capacity_type)
    claim_uid = pool.claim_uid or _owner(node)
    return Instance(
        provider_id=provider_id or (node.spec.provider_id if node else ""),
        name=pool.name,
        claim_name=pool.claim_name or pool.name,
        claim_uid=claim_uid,
        instance_type=size.name if size else pool.size,
        zone=zone,
        capacity_type=pool.capacity_type,
        image_id=str(pool.properties.get("nodeImageVersion") or ""),
        capacity=size.capacity if size else {},
        allocatable=size.allocatable if size else {},
        labels=size.labels_at(offering) if size else {},
        terminating=pool.state == DELETING,
        created=created(pool),
    )


def created(pool: AgentPool) -> datetime | None:
    for text, layout in (
        (pool.tags.get(CREATED_TAG), "%Y-%m-%dT%H:%M:%SZ"),
        (pool.node_labels.get(CREATION_LABEL), "%Y-%m-%dT%H-%M-%SZ"),
    ):
        try:
            return datetime.strptime(text or "", layout).replace(tzinfo=UTC)
        except ValueError:  # somebody has edited it
            continue
    return None


def _owner(node: Node | None) -> str:
    """The claim that registration made the Node's owner."""
    owners = node.metadata.owner_references if node else ()
    return next((each.uid for each in owners if each.kind == "NodeClaim"), "")


def youngest(nodes: Iterable[Node]) -> dict[str, Node]:
    """Of each pool the Node of its machine of now: those that go, or have no machine, are none."""
    found: dict[str, Node] = {}
    for node in nodes:
        pool = node.metadata.labels.get(POOL_LABEL, "")
        if not node.spec.provider_id or node.metadata.deletion_timestamp is not None:
            continue
        if pool not in found or _age(node) > _age(found[pool]):
            found[pool] = node
    return found


def _age(node: Node) -> str:
    return str(node.metadata.creation_timestamp)
