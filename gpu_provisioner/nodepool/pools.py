"""Writes of pools: merge patches of annotations or status, locked by resourceVersion."""

from __future__ import annotations

from apis.karpenter.v1.nodepool import NODE_POOLS, NodePool
from gpu_provisioner.lock import behind, locked
from kube.apply import merge_patch
from kube.client import Client
from kube.errors import NotFoundError
from kube.meta import Manifest


class Pools:
    """The pools as the API server keeps them. What has not changed is not written."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def current(self, name: str) -> NodePool | None:
        """As the API server has it now, not as we saw it last."""
        return await self._client.get(NODE_POOLS, name)

    async def annotate(self, pool: NodePool, annotations: dict[str, str]) -> NodePool:
        if annotations.items() <= pool.metadata.annotations.items():
            return pool
        return await self._patch(pool, {"metadata": {"annotations": annotations}})

    async def save(self, before: NodePool, after: NodePool) -> NodePool:
        """The status, as far as it differs; ConflictError where somebody has written since."""
        told = merge_patch(before.status.to_json(), after.status.to_json())
        if not told:
            return before
        return await self._patch(before, {"status": told}, subresource="status")

    async def _patch(self, pool: NodePool, patch: Manifest, *, subresource: str = "") -> NodePool:
        try:
            return await self._client.patch(
                NODE_POOLS,
                pool.metadata.name,
                locked(pool.metadata, patch),
                subresource=subresource,
            )
        except NotFoundError as gone:
            raise behind(gone) from gone
