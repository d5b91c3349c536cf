"""The claims of a static pool: what each looks like, and what it is called. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from itertools import count, islice

from apis.karpenter.v1.labels import NODEPOOL_LABEL, WELL_KNOWN_LABELS, node_class_label
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from apis.karpenter.v1.requirements import Requirements
from gpu_provisioner.nodepool.hash import stamp
from kube.meta import Manifest

_KEPT = 52
"""Characters of the pool's name in a claim's, which is to be a label too (63)."""


def claim(pool: NodePool, name: str) -> Manifest:
    """No instance types, no requests: a static pool says in its requirements what it wants."""
    template = pool.spec.template
    ref = template.spec.node_class_ref
    own = {
        **template.metadata.labels,
        NODEPOOL_LABEL: pool.metadata.name,
        node_class_label(ref.group, ref.kind): ref.name,
    }
    asked = [{"key": key, "operator": "In", "values": [value]} for key, value in own.items()]
    spec = template.spec.to_json()
    spec["requirements"] = [*spec["requirements"], *asked]
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "labels": {**_decided(pool), **own},
            "annotations": {**template.metadata.annotations, **stamp(pool).annotations},
            "ownerReferences": [owner(pool)],
        },
        "spec": spec,
    }


def owner(pool: NodePool) -> Manifest:
    """By which Kubernetes' garbage collector deletes the claims with the pool."""
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "name": pool.metadata.name,
        "uid": pool.metadata.uid,
        "blockOwnerDeletion": True,
    }


def owned(pool: NodePool, claim: NodeClaim) -> bool:
    """Of this very pool. The label alone does not tell: KAITO puts `kaito` on claims of nobody."""
    return any(each.uid == pool.metadata.uid for each in claim.metadata.owner_references)


def free_names(pool: NodePool, taken: Collection[str], wanted: int) -> list[str]:
    """Always the same for the same claims, so that two who want the same claim make one."""
    return list(islice((name for name in _names(pool) if name not in taken), wanted))


def _names(pool: NodePool) -> Iterator[str]:
    """`<pool>-<10 hexadecimal digits>`, one a slot."""
    stem = pool.metadata.name[:_KEPT].rstrip("-.")
    for slot in count():
        digest = hashlib.sha256(f"{pool.metadata.uid}/{slot}".encode()).hexdigest()[:10]
        yield f"{stem}-{digest}"


def _decided(pool: NodePool) -> dict[str, str]:
    """Custom labels that the requirements leave no choice about; the cloud tells the others."""
    found = Requirements.of(pool.spec.template.spec.requirements).labels()
    return {key: value for key, value in found.items() if key not in WELL_KNOWN_LABELS}
