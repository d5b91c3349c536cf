"""An agent pool of one machine, as the API and as the contract tell it. Pure.

Whose a pool is stands on its tags; its labels bring the same to the Node. ARM forbids `/` in the
names of tags, so `_` stands for it there, as with Karpenter on Azure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.instancetype import InstanceType
from cloudproviders.provider import Instance
from cloudproviders.selection import Choice
from kube.meta import Manifest
from kube.objects import Node

CLAIM_TAG = "kaito.sh_nodeclaim"
UID_TAG = "kaito.sh_nodeclaim-uid"
OWNER_TAG = "karpenter.sh_managed-by"
CLAIM_LABEL = "kaito.sh/nodeclaim"
UID_LABEL = "kaito.sh/nodeclaim-uid"
OWNER_LABEL = "kaito.sh/managed-by"
OWNER = "gpu-provisioner"

NAME = re.compile(r"[a-z][a-z0-9]{2,11}")
"""Of agent pools (api 2024-01-01)."""

OS_SKU = "CBLMariner"
"""The only Linux of AKS on Azure Local; the claim's image family has no say."""

WORKING = frozenset({"Accepted", "Pending", "Creating", "Updating", "Upgrading", "Deleting"})
"""States in which the cluster's one operation is this pool's."""

FAILED = frozenset({"Failed", "Canceled"})

RESERVED_DOMAINS = ("kubernetes.io", "k8s.io")
"""A kubelet may not give itself most labels of these; registration sets them later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool as the API tells it."""

    name: str
    vm_size: str = ""
    state: str = ""
    error: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None

    @property
    def claim_name(self) -> str:
        return self.tags.get(CLAIM_TAG, "")

    @property
    def claim_uid(self) -> str:
        return self.tags.get(UID_TAG, "")

    @property
    def working(self) -> bool:
        return self.state in WORKING

    def ours(self, cluster: str) -> bool:
        return bool(self.claim_uid) and self.tags.get(OWNER_TAG) == cluster


def name_of(claim_name: str) -> str:
    """The claim's own where it may be a pool's, as KAITO's are; else one made from it."""
    if NAME.fullmatch(claim_name):
        return claim_name
    return "p" + hashlib.sha256(claim_name.encode()).hexdigest()[:11]


def body(
    claim: NodeClaim, choice: Choice, *, location: str, cluster: str, tags: Mapping[str, str]
) -> Manifest:
    """The PUT for the claim's pool."""
    return {
        "extendedLocation": {"type": "CustomLocation", "name": location},
        "tags": {
            **tags,
            CLAIM_TAG: claim.metadata.name,
            UID_TAG: claim.metadata.uid,
            OWNER_TAG: cluster,
        },
        "properties": {
            "count": 1,
            "vmSize": choice.instance_type.name,
            "osType": "Linux",
            "osSKU": OS_SKU,
            "nodeLabels": _node_labels(claim),
            "nodeTaints": [
                f"{labels.UNREGISTERED_TAINT}=true:NoExecute",
                *(str(taint) for taint in (*claim.spec.taints, *claim.spec.startup_taints)),
            ],
        },
    }


def ordered(name: str, sent: Manifest, now: datetime) -> Pool:
    """The pool that the body has just asked for."""
    return Pool(
        name=name,
        vm_size=sent["properties"]["vmSize"],
        state="Accepted",
        tags=sent["tags"],
        created=now.astimezone(UTC),
    )


def deleting(pool: Pool) -> Pool:
    return replace(pool, state="Deleting")


def instance(pool: Pool, node: Node | None, known: InstanceType | None) -> Instance:
    """`node` is None while no machine of the pool has joined."""
    found = known.labels_at(known.offerings[0]) if known else {}
    return Instance(
        provider_id=node.spec.provider_id if node else "",
        name=pool.name,
        claim_name=pool.claim_name,
        claim_uid=pool.claim_uid,
        instance_type=known.name if known else pool.vm_size,
        capacity_type=labels.CAPACITY_ON_DEMAND,
        image_id=OS_SKU,
        capacity=known.capacity if known else {},
        allocatable=known.allocatable if known else {},
        labels=found,
        terminating=pool.state == "Deleting",
        created=pool.created,
    )


def _node_labels(claim: NodeClaim) -> dict[str, str]:
    kept = {
        key: value
        for key, value in claim.metadata.labels.items()
        if not key.rpartition("/")[0].endswith(RESERVED_DOMAINS)
    }
    return {
        **kept,
        CLAIM_LABEL: claim.metadata.name,
        UID_LABEL: claim.metadata.uid,
        OWNER_LABEL: OWNER,
    }
