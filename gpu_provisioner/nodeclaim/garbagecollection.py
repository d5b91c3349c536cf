"""Claims without instances, instances without claims. Compares the two and needs no memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from apis.karpenter.v1.conditions import REGISTERED
from apis.karpenter.v1.nodeclaim import NodeClaim, NodeClaimSpec, NodeClaimStatus, NodeClassRef
from cloudproviders.errors import NodeClaimNotFoundError
from cloudproviders.provider import CloudProvider, Instance
from gpu_provisioner.indexes import NODE_PROVIDER_ID
from gpu_provisioner.managed import Managed
from gpu_provisioner.nodeclaim.claims import Claims
from gpu_provisioner.nodeclaim.lifecycle import count_disrupted
from gpu_provisioner.settings import Timings
from kube.client import Client
from kube.clock import Clock
from kube.meta import ObjectMeta
from kube.objects import NODES, Node
from kube.store import Store

logger = logging.getLogger(__name__)


class GarbageCollection:
    """One round over everything. Raises what the API server or the cloud raise; what it has
    not got to is looked at in the next round."""

    def __init__(
        self,
        client: Client,
        claims: Claims,
        cloud: CloudProvider,
        managed: Managed,
        known_claims: Store[NodeClaim],
        nodes: Store[Node],
        timings: Timings,
        clock: Clock,
    ) -> None:
        self._client = client
        self._claims = claims
        self._cloud = cloud
        self._managed = managed
        self._known_claims = known_claims
        self._nodes = nodes
        self._timings = timings
        self._clock = clock

    async def __call__(self) -> None:
        # Claims first: one that was launched while the cloud was asked is not in this list.
        known = [claim for claim in self._known_claims.list() if self._managed.claim(claim)]
        instances = await self._cloud.list()
        await self._collect_claims(known, instances)
        await self._collect_instances(instances)

    async def _collect_claims(
        self, known: Sequence[NodeClaim], instances: Sequence[Instance]
    ) -> None:
        """Claims whose instance is gone; while the Node is Ready the cloud is not believed."""
        alive = {each.provider_id for each in instances if not each.terminating}
        for claim in known:
            if claim.deleting or not claim.is_true(REGISTERED):
                continue
            provider_id = claim.status.provider_id
            nodes = self._nodes.by_index(NODE_PROVIDER_ID, provider_id)
            if provider_id in alive or any(node.ready for node in nodes):
                continue
            logger.warning(
                "instance %s of claim %s is gone: deleting the claim",
                provider_id,
                claim.metadata.name,
                extra={"nodeclaim": claim.metadata.name, "provider_id": provider_id},
            )
            await self._claims.delete(claim)
            count_disrupted(claim, "garbage_collected")

    async def _collect_instances(self, instances: Sequence[Instance]) -> None:
        """Instances whose claim is gone. A claim is the one of its uid: a name may come again."""
        for instance in instances:
            if instance.terminating or self._young(instance):
                continue
            claim = await self._claims.current(instance.claim_name)
            if claim is not None and claim.metadata.uid == instance.claim_uid:
                continue
            logger.warning(
                "instance %s has no claim (was %s): deleting it",
                instance.provider_id,
                instance.claim_name,
                extra={"nodeclaim": instance.claim_name, "provider_id": instance.provider_id},
            )
            await self._delete(instance)

    def _young(self, instance: Instance) -> bool:
        if instance.created is None:
            return False
        age = (self._clock.now() - instance.created).total_seconds()
        return age < self._timings.garbage_grace

    async def _delete(self, instance: Instance) -> None:
        with suppress(NodeClaimNotFoundError):  # gone in the meantime
            await self._cloud.delete(_claim_of(instance))
        for node in self._nodes.by_index(NODE_PROVIDER_ID, instance.provider_id):
            if node.metadata.deletion_timestamp is None:
                await self._client.delete(NODES, node.metadata.name, uid=node.metadata.uid)


def _claim_of(instance: Instance) -> NodeClaim:
    """As much of the claim that is gone as the cloud needs to find its instance."""
    return NodeClaim(
        metadata=ObjectMeta(name=instance.claim_name, uid=instance.claim_uid),
        spec=NodeClaimSpec(
            node_class_ref=NodeClassRef(group="", kind="", name=""), requirements=()
        ),
        status=NodeClaimStatus(provider_id=instance.provider_id),
    )
