"""A claim that has reached the age it was given is replaced, whatever runs on it."""

from __future__ import annotations

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from gpu_provisioner import duration, events
from gpu_provisioner.disruption import Disruption
from gpu_provisioner.shared import Shared, Stores
from kube.controller import Result


class Expiration:
    """Forceful, as in Karpenter: neither budgets nor the wish not to be disrupted are asked. The
    drain is, for as long as the claim's terminationGracePeriod lasts."""

    def __init__(self, shared: Shared, stores: Stores) -> None:
        self._disruption = Disruption(shared, stores)
        self._recorder = shared.recorder
        self._clock = shared.clock

    async def reconcile(self, claim: NodeClaim, /) -> Result:
        lasts = duration.parse(claim.spec.expire_after)
        created = claim.metadata.creation_timestamp
        if claim.deleting or lasts is None or created is None:
            return Result()
        left = (created + lasts - self._clock.now()).total_seconds()
        if left > 0:
            return Result(left)
        if await self._disruption.end(claim, "expired"):
            self._recorder.event(
                NODE_CLAIMS,
                claim.metadata,
                events.NORMAL,
                events.EXPIRED,
                f"older than its expireAfter of {claim.spec.expire_after}",
            )
        return Result()
