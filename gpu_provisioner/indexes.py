"""By what else than their names objects are looked up. The names of the indexes are Karpenter's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from apis.karpenter.v1.labels import NODEPOOL_LABEL
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from kube.objects import Node, Pod, VolumeAttachment

NODE_PROVIDER_ID = "spec.providerID"
CLAIM_PROVIDER_ID = "status.providerID"
NODE_NAME = "spec.nodeName"
POOL = NODEPOOL_LABEL
"""Of claims and Nodes: the pool that their label names."""
CLASS = "spec.nodeClassRef"
"""Of claims and pools: `group/kind/name` of the class that they refer to."""


def class_key(group: str, kind: str, name: str) -> str:
    """What `CLASS` indexes by."""
    return f"{group}/{kind}/{name}"


def _claim_class(claim: NodeClaim) -> Iterable[str]:
    ref = claim.spec.node_class_ref
    return [class_key(ref.group, ref.kind, ref.name)]


def _pool_class(pool: NodePool) -> Iterable[str]:
    ref = pool.spec.template.spec.node_class_ref
    return [class_key(ref.group, ref.kind, ref.name)]


def _pool_label(labelled: NodeClaim | Node) -> Iterable[str]:
    pool = labelled.metadata.labels.get(NODEPOOL_LABEL)
    return [pool] if pool else []


def _claim_provider_id(claim: NodeClaim) -> Iterable[str]:
    return [claim.status.provider_id] if claim.status.provider_id else []


def _node_provider_id(node: Node) -> Iterable[str]:
    return [node.spec.provider_id] if node.spec.provider_id else []


def _node_name(placed: Pod | VolumeAttachment) -> Iterable[str]:
    return [placed.spec.node_name] if placed.spec.node_name else []


Indexes = Mapping[str, Callable[[Any], Iterable[str]]]

OF_CLAIMS: Indexes = {
    CLAIM_PROVIDER_ID: _claim_provider_id,
    POOL: _pool_label,
    CLASS: _claim_class,
}
OF_NODES: Indexes = {NODE_PROVIDER_ID: _node_provider_id, POOL: _pool_label}
OF_POOLS: Indexes = {CLASS: _pool_class}
OF_PLACED: Indexes = {NODE_NAME: _node_name}
