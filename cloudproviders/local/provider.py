"""Machines of the local cluster: NodeClaim ↔ the machines API's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cloudproviders
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders import selection
from cloudproviders.errors import (
    CloudConfigurationError,
    InsufficientCapacityError,
    NodeClaimNotFoundError,
)
from cloudproviders.instancetype import InstanceType
from cloudproviders.local.sdk import Machine, MachinesClient
from cloudproviders.provider import CloudProvider, GroupKind, Instance, RepairPolicy
from kube.client import Client
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
    repair_policies: Sequence[RepairPolicy] = ()

    def __init__(self, machines: Machines, types: Mapping[str, InstanceType]) -> None:
        self._machines = machines
        self._types = types

    async def create(self, claim: NodeClaim, /) -> Instance:
        refused: InsufficientCapacityError | None = None
        for choice in selection.choices(claim, self._types.values()):
            try:
                return self._instance(
                    await self._machines.put(claim.metadata.name, _machine(claim, choice))
                )
            except InsufficientCapacityError as error:
                refused = error  # the next best may be free
        raise InsufficientCapacityError(
            "all requested instance types were unavailable during launch"
            + (f": {refused}" if refused else "; none fits the claim's requirements and requests")
        ) from refused

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
        return tuple(self._types.values())

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        return ""

    async def close(self) -> None:
        await self._machines.close()

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


def _machine(claim: NodeClaim, choice: selection.Choice) -> Manifest:
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
