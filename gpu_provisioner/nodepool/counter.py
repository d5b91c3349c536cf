"""What the nodes of a pool amount to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from apis.karpenter.v1.nodeclaim import NodeClaim
from kube import quantity
from kube.objects import Node
from kube.store import Store

NODES = "nodes"
"""By this name `limits` and `status.resources` count the nodes themselves."""


def bought(claims: Iterable[NodeClaim]) -> list[NodeClaim]:
    """The claims whose machine exists, and is to stay."""
    return [claim for claim in claims if claim.status.provider_id and not claim.deleting]


def resources(claims: Iterable[NodeClaim], nodes: Store[Node]) -> dict[str, str]:
    """What they have together: by the Node where it has told, by the estimate before."""
    found = bought(claims)
    total: dict[str, Decimal] = {NODES: Decimal(len(found))}
    for claim in found:
        for resource, amount in _capacity(claim, nodes).items():
            total[resource] = total.get(resource, Decimal(0)) + quantity.parse(amount)
    return {resource: quantity.fmt(amount) for resource, amount in sorted(total.items())}


def _capacity(claim: NodeClaim, nodes: Store[Node]) -> Mapping[str, str]:
    node = nodes.get(claim.status.node_name) if claim.status.node_name else None
    return {**claim.status.capacity, **(node.status.capacity if node else {})}
