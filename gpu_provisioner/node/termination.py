"""The end of a Node: drain, volumes, instance, finalizer; each waits for the one before."""

from __future__ import annotations

from collections.abc import Sequence

from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.errors import NodeClaimNotFoundError
from cloudproviders.provider import CloudProvider
from gpu_provisioner import metrics
from gpu_provisioner.indexes import CLAIM_PROVIDER_ID
from gpu_provisioner.node.stage import Stage
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodes import Nodes
from kube.clock import Clock
from kube.controller import Result
from kube.objects import Node
from kube.store import Store


class NodeTermination:
    """Each round starts at the first stage and goes as far as it can."""

    def __init__(
        self,
        nodes: Nodes,
        claims: Claims,
        cloud: CloudProvider,
        known_claims: Store[NodeClaim],
        stages: Sequence[Stage],
        clock: Clock,
    ) -> None:
        self._nodes = nodes
        self._claims = claims
        self._cloud = cloud
        self._known_claims = known_claims
        self._stages = tuple(stages)
        self._clock = clock

    async def reconcile(self, node: Node) -> Result:
        node = self._nodes.latest(node)
        if (
            node.metadata.deletion_timestamp is None
            or labels.TERMINATION_FINALIZER not in node.metadata.finalizers
        ):
            return Result()
        claim = self._claim_of(node)
        if claim is not None and not claim.deleting:
            await self._claims.delete(claim)
            return Result()  # its change brings us back, with its deadline
        if not await self._instance_lost(node):
            node = await self._nodes.disrupt(node)
            for stage in self._stages:
                claim, wait = await stage(node, claim)
                if wait is not None:
                    return Result(wait)
        await self._nodes.remove_finalizer(node)
        self._count(node)
        return Result()

    def _claim_of(self, node: Node) -> NodeClaim | None:
        """By provider id; where several have it, none of them is believed."""
        found = self._known_claims.by_index(CLAIM_PROVIDER_ID, node.spec.provider_id)
        return self._claims.latest(found[0]) if len(found) == 1 else None

    async def _instance_lost(self, node: Node) -> bool:
        """Nobody is left to drain. A Node that is Ready is believed more than the cloud."""
        if node.ready:
            return False
        try:
            await self._cloud.get(node.spec.provider_id)
        except NodeClaimNotFoundError:
            return True
        return False

    def _count(self, node: Node) -> None:
        now, pool = self._clock.now(), metrics.nodepool(node.metadata)
        metrics.NODES_TERMINATED.labels(pool, metrics.zone(node.metadata)).inc()
        if (deleted := node.metadata.deletion_timestamp) is not None:
            metrics.NODE_TERMINATION_SECONDS.labels(pool).observe((now - deleted).total_seconds())
        if (created := node.metadata.creation_timestamp) is not None:
            metrics.NODE_LIFETIME_SECONDS.labels(pool).observe((now - created).total_seconds())
