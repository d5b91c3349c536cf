"""What both ways of making an EKS cluster's machines have in common: classes, types, refusals, and
the queue that tells of interruptions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.aws import errors, repair
from cloudproviders.aws.interruption import Queue
from cloudproviders.aws.nodeclass import (
    EC2_NODE_CLASS,
    EC2_NODE_CLASSES,
    KAITO_NODE_CLASS,
    NodeClasses,
)
from cloudproviders.aws.refusals import Refusals
from cloudproviders.aws.sdk import Amazon
from cloudproviders.aws.settings import Settings
from cloudproviders.aws.types import Types
from cloudproviders.instancetype import InstanceType
from cloudproviders.nodeclass import NodeClass, NodeClassStatus
from cloudproviders.provider import (
    CloudProvider,
    GroupKind,
    Instance,
    Interruption,
    Pending,
    RepairPolicy,
)
from kube.client import Client
from kube.clock import Clock
from kube.meta import Resource


class EksProvider(CloudProvider):
    """`AwsProvider` makes machines by fleets, `NodeGroupProvider` by node groups."""

    name = "aws"
    node_classes: Sequence[GroupKind] = (EC2_NODE_CLASS, KAITO_NODE_CLASS)
    node_class_resources: Sequence[Resource[NodeClass]] = (EC2_NODE_CLASSES,)
    repair_policies: Sequence[RepairPolicy] = repair.POLICIES

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
        self._amazon = amazon
        self._client = client
        self._settings = settings
        self._clock = clock or Clock()
        self._classes = NodeClasses(amazon, client, settings, self._clock)
        self._types = Types(amazon, known, self._clock)
        self._refusals = Refusals(self._clock)
        self._queue = Queue(
            amazon, settings.interruption_queue, self._provider_id, wait_seconds=queue_wait_seconds
        )

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        with errors.told():
            return await self._create(claim)

    async def resolve(self, node_class: NodeClass, /) -> NodeClassStatus:
        return await self._classes.status(node_class)

    async def interruptions(self) -> AsyncIterator[Interruption]:
        if not self._settings.interruption_queue:
            return
        async with aclosing(self._queue.notices()) as notices:
            async for notice in notices:
                await self._heed(notice)
                yield notice

    async def close(self) -> None:
        for each in (self._classes, self._types, self._amazon):
            await each.close()

    @abstractmethod
    async def _create(self, claim: NodeClaim) -> Instance | Pending:
        """`create`, with Amazon's errors still to be translated."""

    @abstractmethod
    async def _provider_id(self, instance: str) -> str:
        """Of an instance id; "" for a machine of somebody else: the queue is told of all in the
        account."""

    async def _heed(self, notice: Interruption) -> None:
        """What is to be learnt from a notice before it is passed on."""
