"""The tags by which machines are known, and the labels that AWS's own parts write.

Two clusters in one account never touch each other's machines: all looks filter by `OWNER_TAG`.
"""

from __future__ import annotations

from collections.abc import Mapping

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim

OWNER_TAG = "kaito.sh/managed-by"
"""Value: the cluster's name. Ours alone: a Karpenter beside us looks for other tags."""
CLAIM_TAG = "kaito.sh/nodeclaim"
CLAIM_UID_TAG = "kaito.sh/nodeclaim-uid"
CAPACITY_TYPE_TAG = labels.CAPACITY_TYPE_LABEL
NODE_CLASS_LABEL = "karpenter.k8s.aws/ec2nodeclass"
NODE_GROUP_LABEL = "eks.amazonaws.com/nodegroup"
"""EKS writes it on every node of a managed group."""

Filters = tuple[tuple[str, str], ...]
"""Of a Describe call, as (name, value): a key for caches."""


def owned(cluster: str) -> dict[str, str]:
    """Of everything that we make."""
    return {
        OWNER_TAG: cluster,
        f"kubernetes.io/cluster/{cluster}": "owned",
        "eks:eks-cluster-name": cluster,
    }


def of_claim(claim: NodeClaim, cluster: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Of a claim's machine; Karpenter's tags, and the uid. `extra` are the user's."""
    meta = claim.metadata
    found = {
        **extra,
        **owned(cluster),
        CLAIM_TAG: meta.name,
        CLAIM_UID_TAG: meta.uid,
        "Name": f"{cluster}/{meta.name}",
    }
    if pool := meta.labels.get(labels.NODEPOOL_LABEL):
        found[labels.NODEPOOL_LABEL] = pool
    if claim.spec.node_class_ref.kind == "EC2NodeClass":
        found[NODE_CLASS_LABEL] = claim.spec.node_class_ref.name
    return found


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def as_map(tags: list[dict[str, str]] | None) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


def filters(tags: Mapping[str, str]) -> Filters:
    """Of a Describe call: all tags hold; the value `*` is any."""
    return tuple(
        ("tag-key", key) if value == "*" else (f"tag:{key}", value) for key, value in tags.items()
    )


def as_filters(query: Filters) -> list[dict[str, object]]:
    return [{"Name": name, "Values": [value]} for name, value in query]
