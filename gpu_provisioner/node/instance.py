"""InstanceTerminating: the machine under the node goes, and is seen to be gone."""

from __future__ import annotations

from apis.karpenter.v1.conditions import INSTANCE_TERMINATING
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.errors import NodeClaimNotFoundError
from cloudproviders.provider import CloudProvider
from gpu_provisioner.node.stage import Outcome
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.settings import Timings
from kube.clock import Clock
from kube.objects import Node


class InstanceTermination:
    """Deletes until the cloud has nothing left. Without a claim there is nothing to go by:
    garbage collection finds such an instance."""

    def __init__(
        self, cloud: CloudProvider, claims: Claims, timings: Timings, clock: Clock
    ) -> None:
        self._cloud = cloud
        self._claims = claims
        self._timings = timings
        self._clock = clock

    async def __call__(self, node: Node, claim: NodeClaim | None, /) -> Outcome:
        if claim is None:
            return Outcome(None)
        try:
            await self._cloud.delete(claim)
        except NodeClaimNotFoundError:
            return Outcome(claim)
        terminating = claim.with_condition(INSTANCE_TERMINATING, "True", now=self._clock.now())
        told = await self._claims.tell(claim, terminating)
        return Outcome(told, self._timings.instance_poll)
