"""Writes of Nodes, locked by resourceVersion: taints and finalizers are lists, replaced whole."""

from __future__ import annotations

import asyncio

import msgspec

from apis.karpenter.v1 import labels
from gpu_provisioner.bounded import AT_ONCE
from gpu_provisioner.lock import Written, behind, locked
from gpu_provisioner.node.drain import DISRUPTED
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Manifest
from kube.objects import NODES, Node


class Nodes:
    """The nodes as the API server keeps them, first come, first served like `Claims`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._free = asyncio.Semaphore(AT_ONCE)
        self._written: Written[Node] = Written()

    def latest(self, seen: Node) -> Node:
        """The Node as we have left it, where the cache does not show that yet."""
        return self._written.latest(seen)

    async def disrupt(self, node: Node) -> Node:
        """No new pods, and no traffic from outside, from here on."""
        excluded = node.metadata.labels.get(labels.EXCLUDE_BALANCERS_LABEL)
        tainted = any(taint.matches(DISRUPTED) for taint in node.spec.taints)
        if tainted and excluded == labels.EXCLUDE_BALANCERS_VALUE:
            return node
        patch: Manifest = {
            "metadata": {"labels": {labels.EXCLUDE_BALANCERS_LABEL: labels.EXCLUDE_BALANCERS_VALUE}}
        }
        if not tainted:
            patch["spec"] = {"taints": msgspec.to_builtins((*node.spec.taints, DISRUPTED))}
        return await self.patch(node, patch)

    async def remove_finalizer(self, node: Node) -> None:
        kept = [each for each in node.metadata.finalizers if each != labels.TERMINATION_FINALIZER]
        await self.patch(node, {"metadata": {"finalizers": kept}})
        self._written.forget(node.metadata.uid)

    async def patch(self, node: Node, patch: Manifest) -> Node:
        """A merge patch of the Node as it was seen; ConflictError where it has changed since."""
        try:
            async with self._free:
                written = await self._client.patch(
                    NODES, node.metadata.name, locked(node.metadata, patch)
                )
        except NotFoundError as gone:
            raise behind(gone) from gone
        self._written.note(node.metadata, written)
        return written
