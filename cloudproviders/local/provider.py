"""Machines of the local cluster: NodeClaim ↔ the machines API's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cloudproviders
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders import ladder, repair
from cloudproviders.errors import CloudConfigurationError, CreateError, NodeClaimNotFoundError
from cloudproviders.instancetype import InstanceType
from cloudproviders.local.sdk import Machine, MachinesClient
from cloudproviders.provider import CloudProvider, GroupKind, Instance, RepairPolicy
from cloudproviders.selection import Choice
from cloudproviders.unavailable import UnavailableOfferings
from kube.client import Client
from kube.clock import Clock
from kube.meta import Manifest

PROVIDER_ID_PREFIX = "local:///"
URL = "LOCAL_MACHINES_URL"
TOKEN_FILE = "LOCAL_MACHINES_TOKEN_FILE"  # noqa: S105  the name of a setting


class Machines(Protocol):
    """The part of the machines API in use."""

    async def put(self, name: str, machine: Manifest, /) -> Machine: ...
    async def get(self, name: str, /) -> Machine: ...
    async def list(self) -> Sequence[Machine]: ...
    async def delete(self, name: str, /) -> None: ...
    async def close(self) -> None: ...


class LocalProvider(CloudProvider):
    """A machine is named as its claim and marked with its uid, so nothing need be remembered."""

    name = "local"
    node_classes: Sequence[GroupKind] = (GroupKind("kaito.sh", "KaitoNodeClass"),)
    repair_policies: Sequence[RepairPolicy] = repair.NODE_NOT_READY

    def __init__(
        self,
        machines: Machines,
        types: Mapping[str, InstanceType],
        clock: Clock | None = None,
    ) -> None:
        self._machines = machines
        self._types = types
        self._unavailable = UnavailableOfferings(clock or Clock())

    async def create(self, claim: NodeClaim, /) -> Instance:
        return self._instance(await self._existing(claim) or await self._new(claim))

    async def delete(self, claim: NodeClaim, /) -> None:
        machine = await self._machines.get(claim.metadata.name)
        if machine.uid != claim.metadata.uid:
            raise NodeClaimNotFoundError(
                f"machine {machine.name} was made for another claim, uid {machine.uid}"
            )
        if machine.state != "Deleting":
            await self._machines.delete(machine.name)

    async def get(self, provider_id: str, /) -> Instance:
        if not provider_id.startswith(PROVIDER_ID_PREFIX):
            raise NodeClaimNotFoundError(f"{provider_id} is no machine of the local cluster")
        return self._instance(await self._machines.get(provider_id[len(PROVIDER_ID_PREFIX) :]))

    async def list(self) -> Sequence[Instance]:
        return [self._instance(machine) for machine in await self._machines.list() if machine.uid]

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        return self._unavailable.applied(self._types.values())

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        return ""

    async def close(self) -> None:
        await self._machines.close()

    async def _existing(self, claim: NodeClaim) -> Machine | None:
        """Looked for first: its type may have been sold out since it was made."""
        try:
            machine = await self._machines.get(claim.metadata.name)
        except NodeClaimNotFoundError:
            return None
        if machine.uid != claim.metadata.uid:
            raise CreateError("NameInUse", f"machine {machine.name} is not this claim's")
        return machine

    async def _new(self, claim: NodeClaim) -> Machine:
        async def attempt(choice: Choice) -> Machine:
            return await self._machines.put(claim.metadata.name, _machine(claim, choice))

        return await ladder.climb(claim, self._types.values(), self._unavailable, attempt)

    def _instance(self, machine: Machine) -> Instance:
        known = self._types.get(machine.instance_type)
        found = dict(known.labels_at(known.offerings[0])) if known else {}
        if machine.zone:
            found[labels.ZONE_LABEL] = machine.zone
        return Instance(
            provider_id=machine.provider_id,
            name=machine.name,
            claim_name=machine.name,
            claim_uid=machine.uid,
            instance_type=machine.instance_type,
            zone=machine.zone,
            capacity_type=labels.CAPACITY_ON_DEMAND,
            image_id=machine.image,
            capacity=known.capacity if known else {},
            allocatable=known.allocatable if known else {},
            labels=found,
            terminating=machine.state == "Deleting",
            created=machine.created,
        )


def _machine(claim: NodeClaim, choice: Choice) -> Manifest:
    """The body of the PUT. The unregistered taint is the machine's own; startup taints go along
    so that no pod can land before registration has synced them."""
    return {
        "instanceType": choice.instance_type.name,
        "uid": claim.metadata.uid,
        "labels": {**choice.labels, **claim.metadata.labels},
        "taints": [
            {"key": taint.key, "value": taint.value, "effect": taint.effect}
            for taint in (*claim.spec.taints, *claim.spec.startup_taints)
        ],
        "annotations": {},
        "image": "",
    }


def build(settings: Mapping[str, str], client: Client) -> CloudProvider:
    """From LOCAL_MACHINES_URL and LOCAL_MACHINES_TOKEN_FILE; CloudConfigurationError without."""
    missing = [name for name in (URL, TOKEN_FILE) if not settings.get(name)]
    if missing:
        raise CloudConfigurationError(f"cloud provider local needs {' and '.join(missing)}")
    token = Path(settings[TOKEN_FILE])
    return LocalProvider(
        MachinesClient(settings[URL], lambda: token.read_text("utf-8").strip()),
        cloudproviders.instance_types("local"),
    )
