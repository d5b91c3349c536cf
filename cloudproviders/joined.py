"""The Node of a machine that a cloud's pool of its own accord has made.

Managed pools (AKS, Arc, GKE, EKS) do not say what their machines will be called. The Node tells it,
as soon as it joins, at the price of one read of the cluster and none of the cloud.
"""

from __future__ import annotations

from kube.client import Client
from kube.objects import NODES, Node


async def joined(client: Client, selector: str, *, ending: bool = False) -> Node | None:
    """The Node that the label selector picks and that has its provider id; None while there is
    none. Of several (a machine that the pool has replaced) the youngest. `ending`: one that is
    being deleted counts too, as proof that its machine has come."""
    found = [
        node
        for node in (await client.list(NODES, labels=selector)).items
        if node.spec.provider_id and (ending or node.metadata.deletion_timestamp is None)
    ]
    return max(found, key=lambda node: str(node.metadata.creation_timestamp), default=None)
