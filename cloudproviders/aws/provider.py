"""Machines of EC2: NodeClaim ↔ instances, launched by instant fleets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import cloudproviders
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.aws import drift, interruption
from cloudproviders.aws import settings as settings_
from cloudproviders.aws.eks import EksProvider
from cloudproviders.aws.instances import Instances, Machine
from cloudproviders.aws.launch import Launch
from cloudproviders.aws.launchtemplates import LaunchTemplates
from cloudproviders.aws.nodegroups import NodeGroupProvider
from cloudproviders.aws.sdk import Amazon
from cloudproviders.aws.settings import Settings
from cloudproviders.errors import NodeClaimNotFoundError
from cloudproviders.instancetype import InstanceType
from cloudproviders.provider import (
    CloudProvider,
    Instance,
    Interruption,
)
from cloudproviders.unavailable import Scope
from kube.client import Client
from kube.clock import Clock

CREATE_AGE = 5.0
"""Seconds that a look may be old for adopting a machine: a client token guards what it misses."""

GET_AGE = 1.0

logger = logging.getLogger(__name__)


class AwsProvider(EksProvider):
    """A machine carries its claim's name and uid as tags; nothing need be remembered."""

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
        self._instances = Instances(amazon, settings.cluster, self._clock)
        self._templates = LaunchTemplates(amazon, settings.cluster, self._clock)
        self._launch = Launch(
            amazon,
            settings,
            self._types,
            self._classes.network,
            self._instances,
            self._templates,
            self._refusals,
            self._clock,
        )

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

    async def close(self) -> None:
        for each in (self._instances, self._templates):
            await each.close()
        await super().close()

    async def _create(self, claim: NodeClaim) -> Instance:
        """Adopts what is there; else launches. Of several that a race has made the eldest stays."""
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
