"""Objects that an older provisioner made get the label that says whose they are."""

from __future__ import annotations

import msgspec

from apis.karpenter.v1 import labels
from apis.karpenter.v1.conditions import LAUNCHED
from apis.karpenter.v1.nodeclaim import NodeClaim
from gpu_provisioner.indexes import NODE_PROVIDER_ID
from gpu_provisioner.shared import Shared, Stores
from kube.controller import Result


class Hydration:
    """The node class's label, on the claim and on its node; without it the end of the Node would
    be nobody's business. Claims that are launched today have it from their launch."""

    def __init__(self, shared: Shared, stores: Stores) -> None:
        self._claims = shared.claims
        self._writes = shared.nodes
        self._nodes = stores.nodes

    async def reconcile(self, claim: NodeClaim, /) -> Result:
        claim = self._claims.latest(claim)
        if claim.deleting or not claim.is_true(LAUNCHED):
            return Result()
        ref = claim.spec.node_class_ref
        wanted = {labels.node_class_label(ref.group, ref.kind): ref.name}
        if not wanted.items() <= claim.metadata.labels.items():
            claim = await self._claims.save(claim, _labelled(claim, wanted))
        for node in self._nodes.by_index(NODE_PROVIDER_ID, claim.status.provider_id):
            if (
                node.metadata.labels.get(labels.REGISTERED_LABEL) == "true"
                and not wanted.keys() <= node.metadata.labels.keys()
            ):
                await self._writes.patch(node, {"metadata": {"labels": wanted}})
        return Result()


def _labelled(claim: NodeClaim, wanted: dict[str, str]) -> NodeClaim:
    metadata = msgspec.structs.replace(claim.metadata, labels={**wanted, **claim.metadata.labels})
    return claim.model_copy(update={"metadata": metadata})
