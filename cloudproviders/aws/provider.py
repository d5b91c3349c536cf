"""Machines of EC2: NodeClaim ↔ instances, launched by instant fleets."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

import cloudproviders
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.aws import drift, errors, interruption, repair
from cloudproviders.aws import settings as settings_
from cloudproviders.aws.instances import Instances, Machine
from cloudproviders.aws.interruption import Queue
from cloudproviders.aws.launch import Launch
from cloudproviders.aws.launchtemplates import LaunchTemplates
from cloudproviders.aws.nodeclass import (
    EC2_NODE_CLASS,
    EC2_NODE_CLASSES,
    KAITO_NODE_CLASS,
    NodeClasses,
)
from cloudproviders.aws.nodegroups import NodeGroupProvider
from cloudproviders.aws.refusals import Refusals
from cloudproviders.aws.sdk import Amazon
from cloudproviders.aws.settings import Settings
from cloudproviders.aws.types import Types
from cloudproviders.errors import NodeClaimNotFoundError
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
from cloudproviders.unavailable import Scope
from kube.client import Client
from kube.clock import Clock
from kube.meta import Resource

CREATE_AGE = 5.0
"""Seconds that a look may be old for adopting a machine: a client token guards what it misses."""

GET_AGE = 1.0

logger = logging.getLogger(__name__)


class AwsProvider(CloudProvider):
    """A machine carries its claim's name and uid as tags; nothing need be remembered."""

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
        clock = clock or Clock()
        self._amazon = amazon
        self._settings = settings
        self._classes = NodeClasses(amazon, client, settings, clock)
        self._instances = Instances(amazon, settings.cluster, clock)
        self._types = Types(amazon, known, clock)
        self._templates = LaunchTemplates(amazon, settings.cluster, clock)
        self._refusals = Refusals(clock)
        self._launch = Launch(
            amazon,
            settings,
            self._types,
            self._classes.network,
            self._instances,
            self._templates,
            self._refusals,
            clock,
        )
        self._queue = Queue(
            amazon, settings.interruption_queue, self._provider_id, wait_seconds=queue_wait_seconds
        )

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        """Adopts what is there; else launches. Of several that a race has made the eldest stays."""
        with errors.told():
            return await self._create(claim)

    async def delete(self, claim: NodeClaim, /) -> None:
        found = await self._instances.of_claim(claim.metadata.uid, GET_AGE)
        self._launch.forget(claim.metadata.uid)
        if not found:
            raise NodeClaimNotFoundError(f"no instance of claim {claim.metadata.name}")
        await self._instances.terminate(found)

    async def get(self, provider_id: str, /) -> Instance:
        for machine in await self._instances.all(GET_AGE):
            if machine.provider_id == provider_id:
                return machine.instance(await self._types.known(machine.type))
        raise NodeClaimNotFoundError(f"no instance {provider_id!r}")

    async def list(self) -> Sequence[Instance]:
        """Also clears launch templates away that nobody needs any more."""
        machines = await self._instances.all()
        await self._templates.sweep()
        return [machine.instance(self._types.get(machine.type)) for machine in machines]

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        source = await self._classes.of_pool(pool)
        found = await self._types.of(source, {subnet.zone for subnet in source.subnets})
        return self._refusals.offerings.applied(found)

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        machine = await self._machine(claim.status.provider_id)
        if machine is None:
            return ""  # garbage collection's affair
        source = await self._classes.look(claim)
        return drift.reason(machine, source, await self._types.known(machine.type))

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
        for each in (self._classes, self._instances, self._types, self._templates, self._amazon):
            await each.close()

    async def _create(self, claim: NodeClaim) -> Instance:
        made = await self._instances.of_claim(claim.metadata.uid, CREATE_AGE)
        alive = [machine for machine in made if not machine.going]
        if len(alive) > 1:
            logger.warning("claim %s has %d machines: one stays", claim.metadata.name, len(alive))
            await self._instances.terminate(alive[1:])
        machine = alive[0] if alive else await self._new(claim)
        return machine.instance(await self._types.known(machine.type))

    async def _new(self, claim: NodeClaim) -> Machine:
        source = await self._classes.of(claim)
        return await self._launch(claim, source)

    async def _machine(self, provider_id: str) -> Machine | None:
        found = await self._instances.all(drift.AGE)
        return next((each for each in found if each.provider_id == provider_id), None)

    async def _provider_id(self, instance: str) -> str:
        """ "" for a machine of somebody else: the queue is told of all in the account."""
        machine = await self._instances.find(instance, CREATE_AGE)
        return machine.provider_id if machine else ""

    async def _heed(self, notice: Interruption) -> None:
        """Where one spot machine is taken back, the next would not live long."""
        kinds = {
            interruption.SPOT_INTERRUPTED: labels.CAPACITY_SPOT,
            interruption.RESERVATION_INTERRUPTED: labels.CAPACITY_RESERVED,
        }
        machine = await self._machine(notice.provider_id)
        if machine is not None and (kind := kinds.get(notice.kind)):
            scope = Scope(instance_type=machine.type, zone=machine.zone, capacity_type=kind)
            self._refusals.offerings.mark(scope, f"{notice.kind}: {notice.message}")


def build(settings: Mapping[str, str], client: Client) -> CloudProvider:
    """From AWS_REGION, AWS_CLUSTER_NAME and what docs/clouds/aws.md lists."""
    given = settings_.of(settings)
    amazon = Amazon(given)
    known = cloudproviders.instance_types("aws")
    if given.mode == settings_.NODE_GROUP:
        return NodeGroupProvider(amazon, client, given, known)
    return AwsProvider(amazon, client, given, known)
