"""Writes of claims: merge patches of metadata or of status, never of the immutable spec.

Each is locked by resourceVersion: finalizers and conditions are lists, which a patch replaces
whole. Who was late gets ConflictError, and looks again. What has not changed is not written, and
what was written is known before the cache shows it.
"""

from __future__ import annotations

import asyncio
import logging

from apis.karpenter.v1.labels import TERMINATION_FINALIZER
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from gpu_provisioner.bounded import AT_ONCE
from gpu_provisioner.lock import Written, behind, locked
from kube.apply import merge_patch
from kube.client import Client
from kube.errors import ConflictError, InvalidError, NotFoundError
from kube.meta import Manifest

logger = logging.getLogger(__name__)


class Claims:
    """The claims as the API server keeps them. Of many that are in a hurry at once those that came
    first are served first."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._free = asyncio.Semaphore(AT_ONCE)
        self._written: Written[NodeClaim] = Written()

    def latest(self, seen: NodeClaim) -> NodeClaim:
        """The claim as we have left it, where the cache does not show that yet."""
        return self._written.latest(seen)

    async def ensure_finalizer(self, claim: NodeClaim) -> NodeClaim:
        """Stored before any instance can exist, or a crash would leak it."""
        if TERMINATION_FINALIZER in claim.metadata.finalizers:
            return claim
        return await self._patch_metadata(
            claim, {"finalizers": [*claim.metadata.finalizers, TERMINATION_FINALIZER]}
        )

    async def remove_finalizer(self, claim: NodeClaim) -> None:
        kept = [each for each in claim.metadata.finalizers if each != TERMINATION_FINALIZER]
        await self._patch_metadata(claim, {"finalizers": kept})
        self._written.forget(claim.metadata.uid)

    async def annotate(self, claim: NodeClaim, name: str, value: str) -> NodeClaim:
        return await self._patch_metadata(claim, {"annotations": {name: value}})

    async def save(self, before: NodeClaim, after: NodeClaim) -> NodeClaim:
        """Labels, annotations and status, as far as they differ; the claim as it is then."""
        changed = merge_patch(_metadata(before), _metadata(after))
        if changed:
            before = await self._patch_metadata(before, changed)
        told = merge_patch(before.status.to_json(), after.status.to_json())
        if not told:
            return before
        return await self._patch(before, {"status": told}, subresource="status")

    async def tell(self, before: NodeClaim, after: NodeClaim) -> NodeClaim:
        """`save` for what only informs: a claim that was stored under an older schema may be
        refused for fields that nobody can change any more, which must not keep it from going."""
        try:
            return await self.save(before, after)
        except InvalidError as refused:
            logger.warning(
                "claim %s: status not written: %s",
                before.metadata.name,
                refused,
                extra={"nodeclaim": before.metadata.name},
            )
            return before

    async def delete(self, claim: NodeClaim) -> None:
        await self._client.delete(NODE_CLAIMS, claim.metadata.name, uid=claim.metadata.uid)

    async def confirm(self, claim: NodeClaim) -> None:
        """ConflictError where the API server has a later state of the claim than we have seen."""
        current = await self.current(claim.metadata.name)
        if current is None or current.metadata.resource_version != claim.metadata.resource_version:
            raise ConflictError(409, "Conflict", f"claim {claim.metadata.name} has changed")

    async def current(self, name: str) -> NodeClaim | None:
        """As the API server has it now, not as we saw it last."""
        async with self._free:
            return await self._client.get(NODE_CLAIMS, name)

    async def _patch_metadata(self, claim: NodeClaim, changed: Manifest) -> NodeClaim:
        return await self._patch(claim, {"metadata": changed})

    async def _patch(
        self, claim: NodeClaim, patch: Manifest, *, subresource: str = ""
    ) -> NodeClaim:
        name = claim.metadata.name
        try:
            async with self._free:
                written = await self._client.patch(
                    NODE_CLAIMS, name, locked(claim.metadata, patch), subresource=subresource
                )
        except NotFoundError as gone:
            raise behind(gone) from gone
        self._written.note(claim.metadata, written)
        return written


def _metadata(claim: NodeClaim) -> Manifest:
    return {"labels": claim.metadata.labels, "annotations": claim.metadata.annotations}
