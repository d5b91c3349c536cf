"""EKS managed node groups in place of EC2 fleets: one group of one node for each claim.

Slower and coarser (a group is of one type, bought one way, and takes minutes), but EKS itself makes
the images' user data and joins the nodes. AWS_MODE=nodegroup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders import ladder, selection
from cloudproviders.aws import errors, nodegroup, tags
from cloudproviders.aws.eks import EksProvider
from cloudproviders.aws.errors import Kind
from cloudproviders.aws.nodegroup import NodeGroup
from cloudproviders.aws.sdk import Amazon
from cloudproviders.aws.settings import Settings
from cloudproviders.aws.source import Source
from cloudproviders.errors import (
    CreateError,
    InsufficientCapacityError,
    NodeClaimNotFoundError,
    OfferingRefusedError,
)
from cloudproviders.instancetype import InstanceType
from cloudproviders.joined import joined
from cloudproviders.provider import (
    Instance,
    Pending,
)
from cloudproviders.selection import Choice
from cloudproviders.unavailable import Scope
from kube.client import Client
from kube.clock import Clock
from kube.objects import NODES, Node

LOOK_AGAIN = 30.0
"""Seconds: the Node wakes us earlier."""

ENDING_SECONDS = 30.0
"""So long a group that is being deleted is not looked at again: its end takes minutes."""

MEMORY_SECONDS = 15 * 60.0
"""How long a refusal holds. Longer than with fleets: each rung costs minutes, and the first must
not be forgotten before the last was tried."""


class NodeGroupProvider(EksProvider):
    """A group is named after its claim's name and uid, and tagged with both."""

    def __init__(
        self,
        amazon: Amazon,
        client: Client,
        settings: Settings,
        known: Mapping[str, InstanceType],
        *,
        clock: Clock | None = None,
        queue_wait_seconds: int | None = None,
    ) -> None:
        super().__init__(
            amazon, client, settings, known, clock=clock, queue_wait_seconds=queue_wait_seconds
        )
        self._ending: dict[str, float] = {}

    async def delete(self, claim: NodeClaim, /) -> None:
        name = nodegroup.name_of(claim)
        if self._ending.get(name, 0.0) > self._clock.monotonic():
            return
        self._ending.pop(name, None)
        group = await self._group(name)
        if group is None or group.claim_uid != claim.metadata.uid:
            raise NodeClaimNotFoundError(f"no node group of claim {claim.metadata.name}")
        if not group.deleting:
            await self._end(group)
        self._ending[name] = self._clock.monotonic() + ENDING_SECONDS

    async def get(self, provider_id: str, /) -> Instance:
        for instance in await self.list():
            if provider_id and instance.provider_id == provider_id:
                return instance
        raise NodeClaimNotFoundError(f"no node group has the machine {provider_id!r}")

    async def list(self) -> Sequence[Instance]:
        names = await self._amazon.all(
            "list_nodegroups", "nodegroups", clusterName=self._settings.cluster
        )
        found = await asyncio.gather(*(self._group(name) for name in names))
        groups = [group for group in found if group is not None and group.claim_uid]
        nodes = await self._nodes() if groups else {}
        return [
            group.instance(nodes.get(group.name), self._types.get(group.type)) for group in groups
        ]

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        source = await self._classes.of_pool(pool)
        return self._refusals.offerings.applied(await self._types_of(source))

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        """Images are EKS' own affair here; what is left are the subnets."""
        group = await self._group(nodegroup.name_of(claim))
        if group is None:
            return ""
        subnets = {each.id for each in (await self._classes.look(claim)).subnets}
        return "SubnetDrift" if subnets and not subnets >= set(group.subnets) else ""

    def claim_of(self, node: Node, /) -> str:
        return node.metadata.labels.get(tags.CLAIM_TAG, "")

    async def _create(self, claim: NodeClaim) -> Instance | Pending:
        group = await self._group(nodegroup.name_of(claim))
        if group is None:
            return await self._order(claim)
        if group.claim_uid != claim.metadata.uid:
            raise CreateError("NameInUse", f"node group {group.name} is not of this claim")
        if group.deleting:
            return self._pending(group, "is being deleted before the next try")
        if group.issues:
            return await self._failed(claim, group)
        node = await joined(self._client, f"{tags.NODE_GROUP_LABEL}={group.name}")
        if node is None:
            return self._pending(group, f"is {group.status}; no node has joined yet")
        return group.instance(node, await self._types.known(group.type))

    async def _order(self, claim: NodeClaim) -> Pending:
        source = await self._classes.of(claim)
        zones = {subnet.zone for subnet in source.subnets}
        source = replace(source, reservations=())  # groups cannot target one without a template
        types = await self._types.for_claim(claim, source, zones)
        try:
            return await ladder.climb(
                claim,
                types,
                self._refusals.offerings,
                lambda choice: self._put(claim, source, choice, types),
            )
        except InsufficientCapacityError:
            raise self._refusals.verdict(claim, types) from None

    async def _put(
        self,
        claim: NodeClaim,
        source: Source,
        choice: Choice,
        types: Sequence[InstanceType],
    ) -> Pending:
        asked = claim.spec.resources.requests.get(selection.STORAGE)
        disk = selection.disk_gib(claim) if asked else self._settings.disk_gib
        zones = self._zones(claim, choice, types)
        body = nodegroup.body(claim, source, choice, zones, self._settings, disk)
        try:
            wire = (await self._amazon.call("create_nodegroup", **body))["nodegroup"]
        except errors.ServiceError as refused:
            if refused.code in errors.ALREADY_EXISTS:  # an answer was lost
                return Pending(message=f"node group {body['nodegroupName']}: ordered", look_again=1)
            kind = errors.meaning_of(refused.code).kind
            if kind is Kind.CONFIGURATION:
                raise
            self._refusals.mark(choice, kind, refused.message, ttl=MEMORY_SECONDS)
            raise OfferingRefusedError(
                refused.message, _scope(choice), ttl=MEMORY_SECONDS
            ) from refused
        return self._pending(NodeGroup.of(wire), f"was ordered as {choice}")

    def _zones(
        self, claim: NodeClaim, choice: Choice, types: Sequence[InstanceType]
    ) -> Sequence[str]:
        """Where the choice's type can be had, bought this way: EKS looks in all of them."""
        open_ = selection.choices(claim, self._refusals.offerings.applied(types))
        return [
            other.offering.zone
            for other in open_
            if other.instance_type.name == choice.instance_type.name
            and other.offering.capacity_type == choice.offering.capacity_type
        ]

    async def _failed(self, claim: NodeClaim, group: NodeGroup) -> Pending:
        """EKS has tried and given up, or would go on trying for ever."""
        told = "; ".join(issue.told for issue in group.issues)
        if group.kind is Kind.CONFIGURATION:
            raise CreateError(group.issues[0].reason, f"node group {group.name}: {told}")
        for scope in group.scopes:
            self._refusals.mark_scope(scope, group.kind, told, ttl=MEMORY_SECONDS)
        await self._end(group)
        return self._pending(group, f"failed: {told}; deleting it before the next try")

    async def _end(self, group: NodeGroup) -> None:
        try:
            await self._amazon.call(
                "delete_nodegroup", clusterName=self._settings.cluster, nodegroupName=group.name
            )
        except errors.ServiceError as refused:
            # Gone, or an operation of EKS' own is under way: the next look will tell.
            if refused.code not in errors.NOT_FOUND | errors.ALREADY_EXISTS:
                raise

    async def _group(self, name: str) -> NodeGroup | None:
        """As EKS tells it; None where there is none, or it is another cluster's owner's."""
        try:
            answer = await self._amazon.call(
                "describe_nodegroup", clusterName=self._settings.cluster, nodegroupName=name
            )
        except errors.ServiceError as refused:
            if refused.code in errors.NOT_FOUND:
                return None
            raise
        return NodeGroup.of(answer["nodegroup"])

    async def _types_of(self, source: Source) -> Sequence[InstanceType]:
        zones = {subnet.zone for subnet in source.subnets}
        return await self._types.of(replace(source, reservations=()), zones)

    async def _nodes(self) -> dict[str, Node]:
        """By the name of the group."""
        found = await self._client.list(NODES, labels=tags.NODE_GROUP_LABEL)
        return {node.metadata.labels[tags.NODE_GROUP_LABEL]: node for node in found.items}

    async def _provider_id(self, instance: str) -> str:
        found = await self._client.list(NODES, labels=tags.CLAIM_TAG)
        ids = [node.spec.provider_id for node in found.items]
        return next((id for id in ids if id.endswith(f"/{instance}")), "")

    def _pending(self, group: NodeGroup, what: str) -> Pending:
        return Pending(message=f"node group {group.name} {what}", look_again=LOOK_AGAIN)


def _scope(choice: Choice) -> Scope:
    offering = choice.offering
    return Scope(
        instance_type=choice.instance_type.name,
        zone=offering.zone,
        capacity_type=offering.capacity_type,
    )
