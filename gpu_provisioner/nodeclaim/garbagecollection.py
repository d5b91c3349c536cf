"""Claims without instances, instances without claims. Compares the two and needs no memory."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from functools import partial

from apis.karpenter.v1.conditions import REGISTERED
from apis.karpenter.v1.nodeclaim import (
    NODE_CLAIMS,
    NodeClaim,
    NodeClaimSpec,
    NodeClaimStatus,
    NodeClassRef,
)
from cloudproviders.errors import NodeClaimNotFoundError
from cloudproviders.provider import CloudProvider, Instance
from gpu_provisioner import bounded, events, metrics
from gpu_provisioner.disruption import Disruption
from gpu_provisioner.indexes import NODE_PROVIDER_ID
from gpu_provisioner.shared import Shared, Stores
from kube.meta import Key, ObjectMeta
from kube.objects import NODES

logger = logging.getLogger(__name__)


class GarbageCollection:
    """One round over everything. Raises what the API server or the cloud raise; what it has
    not got to is looked at in the next round.

    `unreadable`: claims that exist and do not decode. The cloud's own name of an instance may not
    be known yet (""): an instance is its claim's by name and uid.
    """

    def __init__(
        self,
        shared: Shared,
        stores: Stores,
        cloud: CloudProvider,
        unreadable: Callable[[], Container[Key]],
    ) -> None:
        self._client = shared.client
        self._claims = shared.claims
        self._cloud = cloud
        self._managed = shared.managed
        self._stores = stores
        self._disruption = Disruption(shared, stores)
        self._recorder = shared.recorder
        self._grace = shared.timings.garbage_grace
        self._clock = shared.clock
        self._unreadable = unreadable

    async def __call__(self) -> None:
        # Claims first: one that was launched while the cloud was asked is not in this list.
        known = [claim for claim in self._stores.claims.list() if self._managed.claim(claim)]
        instances = await self._cloud.list()
        orphans = self._orphans(instances)
        metrics.INSTANCES_WITHOUT_CLAIM.set(len(orphans))
        jobs: list[Callable[[], Awaitable[None]]] = [
            *(partial(self._collect_claim, claim) for claim in self._lost(known, instances)),
            *(partial(self._collect_instance, instance) for instance in orphans),
        ]
        await bounded.each(jobs, lambda job: job())

    def _lost(self, known: Sequence[NodeClaim], instances: Sequence[Instance]) -> list[NodeClaim]:
        """Claims whose instance is gone; while the Node is Ready the cloud is not believed."""
        there = [each for each in instances if not each.terminating]
        ids = {each.provider_id for each in there}
        nameless = {each.claim_uid for each in there if not each.provider_id}
        return [
            claim
            for claim in known
            if not claim.deleting
            and claim.metadata.key not in self._unreadable()
            and claim.is_true(REGISTERED)
            and claim.status.provider_id not in ids
            and claim.metadata.uid not in nameless
            and not any(
                node.ready
                for node in self._stores.nodes.by_index(NODE_PROVIDER_ID, claim.status.provider_id)
            )
        ]

    async def _collect_claim(self, claim: NodeClaim) -> None:
        if not await self._disruption.end(claim, "garbage_collected"):
            return
        message = f"the cloud has no instance {claim.status.provider_id} any more"
        logger.warning(
            "claim %s: %s: deleting it",
            claim.metadata.name,
            message,
            extra={"nodeclaim": claim.metadata.name, "provider_id": claim.status.provider_id},
        )
        self._recorder.event(
            NODE_CLAIMS, claim.metadata, events.WARNING, events.INSTANCE_GONE, message
        )

    def _orphans(self, instances: Sequence[Instance]) -> list[Instance]:
        """Instances whose claim, by all that we see here, is gone."""
        return [
            instance
            for instance in instances
            if not instance.terminating
            and not self._young(instance)
            and not _is_for(instance, self._stores.claims.get(instance.claim_name))
            and Key("", instance.claim_name) not in self._unreadable()
        ]

    def _young(self, instance: Instance) -> bool:
        if instance.created is None:
            return False
        return (self._clock.now() - instance.created).total_seconds() < self._grace

    async def _collect_instance(self, instance: Instance) -> None:
        try:
            current = await self._claims.current(instance.claim_name)
        except ValueError:
            return  # there is one, and it does not decode
        if _is_for(instance, current):
            return
        logger.warning(
            "instance %s has no claim (was %s): deleting it",
            instance.provider_id or instance.name,
            instance.claim_name,
            extra={"nodeclaim": instance.claim_name, "provider_id": instance.provider_id},
        )
        with suppress(NodeClaimNotFoundError):  # gone in the meantime
            await self._cloud.delete(_claim_of(instance))
            metrics.INSTANCES_COLLECTED.inc()
        for node in self._stores.nodes.by_index(NODE_PROVIDER_ID, instance.provider_id):
            if node.metadata.deletion_timestamp is None:
                await self._client.delete(NODES, node.metadata.name, uid=node.metadata.uid)


def _is_for(instance: Instance, claim: NodeClaim | None) -> bool:
    """A claim is the one of its uid: a name may come again."""
    return claim is not None and claim.metadata.uid == instance.claim_uid


def _claim_of(instance: Instance) -> NodeClaim:
    """As much of the claim that is gone as the cloud needs to find its instance."""
    return NodeClaim(
        metadata=ObjectMeta(name=instance.claim_name, uid=instance.claim_uid),
        spec=NodeClaimSpec(
            node_class_ref=NodeClassRef(group="", kind="", name=""), requirements=()
        ),
        status=NodeClaimStatus(provider_id=instance.provider_id),
    )
