"""InstanceTerminating: the machine under the node goes, and is seen to be gone."""

from __future__ import annotations

from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner.instances import Instances
from gpu_provisioner.node.stage import Outcome
from gpu_provisioner.settings import Timings
from kube.objects import Node


class InstanceTermination:
    """Without a claim there is nothing to go by: garbage collection finds such an instance."""

    def __init__(self, instances: Instances, timings: Timings) -> None:
        self._instances = instances
        self._timings = timings

    async def __call__(self, node: Node, claim: NodeClaim | None, /) -> Outcome:
        if claim is None:
            return Outcome(None)
        told = await self._instances.end(claim)
        if told is None:
            return Outcome(claim)
        return Outcome(told, self._timings.instance_poll)
