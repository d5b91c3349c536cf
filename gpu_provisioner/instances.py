"""The end of the machine under a claim, and what the claim says of it meanwhile."""

from __future__ import annotations

from apis.karpenter.v1.conditions import INSTANCE_TERMINATING
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from cloudproviders.errors import CloudError, NodeClaimNotFoundError
from cloudproviders.provider import CloudProvider
from gpu_provisioner import events
from gpu_provisioner.nodeclaim.claims import Claims
from kube.clock import Clock
from kube.transport import NETWORK_ERRORS


class Instances:
    """Asked again until the cloud has nothing left."""

    def __init__(
        self, cloud: CloudProvider, claims: Claims, recorder: events.Events, clock: Clock
    ) -> None:
        self._cloud = cloud
        self._claims = claims
        self._recorder = recorder
        self._clock = clock

    async def end(self, claim: NodeClaim) -> NodeClaim | None:
        """The claim, on which InstanceTerminating stands; None once the machine is gone.

        By name and uid, so that a machine is found even if its id was never stored. What the cloud
        refuses is told on the claim, which waits for it, and raised.
        """
        try:
            await self._cloud.delete(claim)
        except NodeClaimNotFoundError:
            return None
        except (CloudError, *NETWORK_ERRORS) as error:
            message = (
                f"the cloud does not delete the instance: {str(error) or type(error).__name__}"
            )
            self._recorder.event(
                NODE_CLAIMS,
                claim.metadata,
                events.WARNING,
                events.FAILED_INSTANCE_TERMINATION,
                message,
            )
            raise
        terminating = claim.with_condition(INSTANCE_TERMINATING, "True", now=self._clock.now())
        return await self._claims.tell(claim, terminating)
