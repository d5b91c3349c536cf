"""By what else than their names objects are looked up. The names of the indexes are Karpenter's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.objects import Node, Pod, VolumeAttachment

NODE_PROVIDER_ID = "spec.providerID"
CLAIM_PROVIDER_ID = "status.providerID"
NODE_NAME = "spec.nodeName"


def _claim_provider_id(claim: NodeClaim) -> Iterable[str]:
    return [claim.status.provider_id] if claim.status.provider_id else []


def _node_provider_id(node: Node) -> Iterable[str]:
    return [node.spec.provider_id] if node.spec.provider_id else []


def _node_name(placed: Pod | VolumeAttachment) -> Iterable[str]:
    return [placed.spec.node_name] if placed.spec.node_name else []


Indexes = Mapping[str, Callable[[Any], Iterable[str]]]

OF_CLAIMS: Indexes = {CLAIM_PROVIDER_ID: _claim_provider_id}
OF_NODES: Indexes = {NODE_PROVIDER_ID: _node_provider_id}
OF_PLACED: Indexes = {NODE_NAME: _node_name}
