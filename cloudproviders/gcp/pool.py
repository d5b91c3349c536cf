"""A node pool as the cluster has it, and whose it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from apis.karpenter.v1 import labels

PROVISIONER = "gpu-provisioner"
OWNER_KEY = "kaito-provisioner"
CLAIM_KEY = "kaito-nodeclaim"
UID_KEY = "kaito-nodeclaim-uid"
CREATED_KEY = "kaito-created"
"""Unix time: container/v1 does not tell when a pool was made."""

ATTEMPT_KEY = "kaito-attempt"
"""A claim has several pools while GKE will not let go of one that it cannot make: the one with the
highest number is the claim's, the others are to be deleted as soon as they can be."""

WORKING = frozenset({"PROVISIONING", "RECONCILING", "STOPPING"})
"""States in which an operation of the cluster is about the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A node pool as the cluster has it. `conditions` are (code, message)."""

    name: str
    state: str
    message: str = ""
    conditions: tuple[tuple[str, str], ...] = ()
    version: str = ""
    machine_type: str = ""
    image_type: str = ""
    spot: bool = False
    reserved: bool = False
    zones: tuple[str, ...] = ()
    resource_labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    partition: str = ""
    """How its GPUs are cut."""
    groups: tuple[str, ...] = ()
    """URLs of the managed instance groups."""

    @property
    def ours(self) -> bool:
        return self.resource_labels.get(OWNER_KEY) == PROVISIONER and bool(self.claim_uid)

    @property
    def claim_name(self) -> str:
        """In full; as a GCP label it would lose its dots."""
        return self.metadata.get(CLAIM_KEY, "")

    @property
    def claim_uid(self) -> str:
        return self.resource_labels.get(UID_KEY, "")

    @property
    def attempt(self) -> int:
        text = self.resource_labels.get(ATTEMPT_KEY, "")
        return int(text) if text.isdigit() else 1

    @property
    def created(self) -> datetime | None:
        text = self.resource_labels.get(CREATED_KEY, "")
        return datetime.fromtimestamp(int(text), UTC) if text.isdigit() else None

    @property
    def zone(self) -> str:
        return self.zones[0] if self.zones else ""

    @property
    def capacity_type(self) -> str:
        if self.reserved:
            return labels.CAPACITY_RESERVED
        return labels.CAPACITY_SPOT if self.spot else labels.CAPACITY_ON_DEMAND

    @property
    def lost_id(self) -> str:
        """In place of the provider id of a machine that is no more: no Node has it."""
        return f"gce:///{self.zone}/{self.name}"

    def holds(self, provider_id: str) -> bool:
        """Whether the machine is the pool's: `gce://<project>/<zone>/<base of a group>-xxxx`."""
        _, _, rest = provider_id.partition("gce://")
        parts = rest.split("/")
        return len(parts) == 3 and any(
            f"/zones/{parts[1]}/" in group and parts[2].rsplit("-", 1)[0] == _base(group)
            for group in self.groups
        )


def at_work(pools: Iterable[Pool]) -> set[str]:
    """The pools that an operation of the cluster is about."""
    return {pool.name for pool in pools if pool.state in WORKING}


def _base(group: str) -> str:
    """Of the names of a group's machines: the group's own, without `-grp`."""
    return group.rsplit("/", 1)[-1].removesuffix("-grp")
