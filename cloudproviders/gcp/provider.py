"""Google Cloud: a NodeClaim is a GKE node pool of one node.

GKE works for minutes on an order, tries for more than half an hour where machines are sold out,
and takes few operations at a time. So nothing is awaited here: a claim's pool is ordered once and
looked up in a list that all claims share, and its Node tells by itself when it has joined.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import cloudproviders
from apis.karpenter.v1 import labels
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders.errors import (
    CloudUnavailableError,
    CreateError,
    NodeClaimNotFoundError,
    NodeClassNotReadyError,
)
from cloudproviders.gcp import nodeclass, nodepools, signals
from cloudproviders.gcp.cluster import LOOK_SECONDS, Cluster, Container
from cloudproviders.gcp.compute import Compute
from cloudproviders.gcp.nodeclass import GCE_NODE_CLASSES, Shape
from cloudproviders.gcp.offerings import Offerings, partitioned
from cloudproviders.gcp.orders import Orders
from cloudproviders.gcp.pool import PROVISIONER, Pool
from cloudproviders.gcp.refused import Refused
from cloudproviders.gcp.sdk import GkeCluster, bearer
from cloudproviders.gcp.settings import GcpSettings, from_settings
from cloudproviders.instancetype import InstanceType, Offering
from cloudproviders.joined import joined
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
from kube.objects import NODES, Node

DRIFT_SECONDS = 5 * 60.0
"""How old the list of pools may be for drift, which is in no hurry."""

LIST_SECONDS = 1.0
"""How old it may be for garbage collection, which would cost a claim its node."""

LOST_SECONDS = 60.0
"""For so long a running pool's Node may be away: kubelets register again."""

MINORS_BEHIND = 2
"""Minor versions of Kubernetes that a node may be behind; from there on it has drifted."""

logger = logging.getLogger(__name__)

_MINOR = re.compile(r"^1\.(\d+)\.")


class GcpProvider(CloudProvider):
    """Pools are told apart by the claim's uid, which stands on them as a GCP label."""

    name = "gcp"
    node_classes: Sequence[GroupKind] = (
        GroupKind(GCE_NODE_CLASSES.group, GCE_NODE_CLASSES.kind),
        GroupKind("kaito.sh", "KaitoNodeClass"),
    )
    node_class_resources: Sequence[Resource[NodeClass]] = (GCE_NODE_CLASSES,)
    repair_policies: Sequence[RepairPolicy] = signals.REPAIR_POLICIES

    def __init__(
        self,
        settings: GcpSettings,
        client: Client,
        container: Container,
        types: Mapping[str, InstanceType],
        *,
        compute: Compute | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock = clock or Clock()
        self._missing: dict[str, float] = {}
        """Since when the Nodes of pools that should have one have not been there."""
        self._settings = settings
        self._client = client
        self._compute = compute
        self._cluster = Cluster(container, settings.concurrent_operations, clock)
        self._offerings = Offerings(types, compute, clock)
        self._refused = Refused(clock)
        self._orders = Orders(
            self._cluster, self._offerings, self._refused, clock, settings.provisioning_timeout
        )

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        known = self._cluster.known_of(claim.metadata.uid)
        attempt = known[-1].attempt if known else 1
        name = nodepools.name_of(claim, attempt)
        if any(map(self._cluster.flying, (name, nodepools.name_of(claim, attempt + 1)))):
            return Pending(message=f"node pool {name}: being ordered", look_again=1.0)
        if made := await self._joined(known):
            return made  # without a question to Google
        pools = await self._cluster.pools_of(claim.metadata.uid)
        if not pools:
            return await self._launch(claim, known)
        if found := await self._joined(pools) or await self._orders.look(claim, pools[-1]):
            return found
        shape = await self._shape(claim)
        return await self._orders.place(claim, shape, attempt=pools[-1].attempt + 1)

    async def delete(self, claim: NodeClaim, /) -> None:
        pools = await self._cluster.pools_of(claim.metadata.uid)
        if not pools:
            name = nodepools.name_of(claim)
            raise NodeClaimNotFoundError(f"node pool {name} of claim {claim.metadata.uid} is gone")
        for pool in pools:
            await self._cluster.end(pool)

    async def get(self, provider_id: str, /) -> Instance:
        for max_age in (LOOK_SECONDS, 0.0):
            pools = [pool for pool in (await self._cluster.pools(max_age)).values() if pool.ours]
            for pool in pools:
                if pool.holds(provider_id):
                    return self._described(pool, provider_id)
            if all(pool.groups for pool in pools):
                break  # else there is one that has not been read since it was ordered
        raise NodeClaimNotFoundError(f"no node pool of ours has the machine {provider_id!r}")

    async def list(self) -> Sequence[Instance]:
        """A pool whose machine has been gone for a while has a provider id that is nobody's, so
        that its claim is given up; until then, and before its machine is there, it has none."""
        pools = [pool for pool in (await self._cluster.pools(LIST_SECONDS)).values() if pool.ours]
        selector = f"{nodepools.PROVISIONER_LABEL}={PROVISIONER}"
        nodes = (await self._client.list(NODES, labels=selector)).items if pools else []
        nodes.sort(key=lambda node: str(node.metadata.creation_timestamp))
        ids = {
            node.metadata.labels.get(nodepools.POOL_LABEL, ""): node.spec.provider_id
            for node in nodes
        }
        lost = self._lost(pools, ids)
        current = {pool.claim_uid: pool for pool in sorted(pools, key=lambda pool: pool.attempt)}
        given_up = [pool for pool in pools if current[pool.claim_uid] is not pool]
        for pool in given_up:
            try:
                await self._cluster.end(pool)
            except CloudUnavailableError as failed:  # the next list tries again
                logger.warning("node pool %s cannot be deleted: %s", pool.name, failed)
        return [
            self._described(pool, pool.lost_id if pool.name in lost else ids.get(pool.name, ""))
            for pool in current.values()
        ]

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        zones = self._settings.zones or (await self._cluster.facts()).locations
        return self._refused.offerings.applied(await self._offerings.types(zones, None))

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        """Conservative: only what certainly is no longer what was asked for. A changed class is
        told by its hash."""
        await self._cluster.pools(DRIFT_SECONDS)
        pools = self._cluster.known_of(claim.metadata.uid)
        if not pools or (pool := pools[-1]).state != "RUNNING":
            return ""
        wanted = claim.metadata.labels.get(labels.INSTANCE_TYPE_LABEL, pool.machine_type)
        if pool.machine_type != wanted:
            return "InstanceTypeDrift"
        try:
            shape = await self._shape(claim)
        except NodeClassNotReadyError:
            return ""  # of what is to be compared with nothing nothing can be said
        if pool.image_type.upper() != nodepools.image_type(claim, shape).upper():
            return "ImageDrift"
        behind = _minor((await self._cluster.facts()).version) - _minor(pool.version)
        return "KubernetesVersionDrift" if behind >= MINORS_BEHIND else ""

    def claim_of(self, node: Node, /) -> str:
        return node.metadata.labels.get(nodepools.CLAIM_LABEL, "")

    async def resolve(self, node_class: NodeClass, /) -> NodeClassStatus:
        return nodeclass.status(node_class)

    def interrupted(self, node: Node, now: datetime, /) -> Interruption | None:
        return signals.interruption(node, now)

    async def close(self) -> None:
        await self._cluster.close()
        if self._compute is not None:
            await self._compute.close()

    async def _shape(self, claim: NodeClaim) -> Shape:
        """NodeClassNotReadyError where the claim's class is one of ours and cannot be used."""
        ref = claim.spec.node_class_ref
        if (ref.group, ref.kind) != (GCE_NODE_CLASSES.group, GCE_NODE_CLASSES.kind):
            return nodeclass.of_settings(self._settings)
        found = await self._client.get(GCE_NODE_CLASSES, ref.name)
        if found is None:
            raise NodeClassNotReadyError(f"GCENodeClass {ref.name} does not exist; create it")
        if found.metadata.deletion_timestamp is not None:
            raise NodeClassNotReadyError(f"GCENodeClass {ref.name} is being deleted")
        for condition in nodeclass.status(found).conditions:
            if condition.status != "True":
                raise NodeClassNotReadyError(f"GCENodeClass {ref.name}: {condition.message}")
        return nodeclass.of_class(found, self._settings)

    async def _launch(self, claim: NodeClaim, known: Sequence[Pool]) -> Pending:
        """The first order, or the next one after all before it have gone."""
        name = nodepools.name_of(claim)
        if name in await self._cluster.pools():
            raise CreateError(
                "NameInUse", f"node pool {name} exists and was not made for claim {name}"
            )
        if known and known[-1].state != "STOPPING":
            await self._orders.vanished(claim, known[-1])
        return await self._orders.place(claim, await self._shape(claim))

    async def _joined(self, pools: Sequence[Pool]) -> Instance | None:
        """The claim's machine, once its Node is there."""
        if not pools or (pool := pools[-1]).state == "STOPPING":
            return None
        node = await joined(self._client, f"{nodepools.POOL_LABEL}={pool.name}")
        return self._described(pool, node.spec.provider_id) if node else None

    def _lost(self, pools: Sequence[Pool], ids: Mapping[str, str]) -> set[str]:
        """Pools that should have a Node, and have not had one for long."""
        now, missing = self._clock.monotonic(), self._missing
        self._missing = {
            pool.name: missing.get(pool.name, now)
            for pool in pools
            if pool.state == "RUNNING" and pool.name not in ids
        }
        return {name for name, since in self._missing.items() if now - since >= LOST_SECONDS}

    def _described(self, pool: Pool, provider_id: str) -> Instance:
        known = self._offerings.get(pool.machine_type)
        if known is not None and pool.partition:
            known = partitioned(known, pool.partition)
        offering = Offering(zone=pool.zone, capacity_type=pool.capacity_type)
        return Instance(
            provider_id=provider_id,
            name=pool.name,
            claim_name=pool.claim_name,
            claim_uid=pool.claim_uid,
            instance_type=pool.machine_type,
            zone=pool.zone,
            capacity_type=pool.capacity_type,
            image_id=f"{pool.image_type}/{pool.version}" if pool.version else pool.image_type,
            capacity=known.capacity if known else {},
            allocatable=known.allocatable if known else {},
            labels=known.labels_at(offering) if known else {},
            terminating=pool.state == "STOPPING",
            created=pool.created,
        )


def _minor(version: str) -> int:
    """`1.33.4-gke.100` → 33; 0 for what is no version."""
    found = _MINOR.match(version)
    return int(found[1]) if found else 0


def build(settings: Mapping[str, str], client: Client) -> CloudProvider:
    """From GCP_PROJECT, GCP_LOCATION, GCP_CLUSTER_NAME and what docs/clouds/gcp.md lists;
    CloudConfigurationError where something is missing or wrong."""
    found = from_settings(settings)
    token = bearer(found)
    return GcpProvider(
        found,
        client,
        GkeCluster(found, token),
        cloudproviders.instance_types("gcp"),
        compute=Compute(found, token) if found.compute else None,
    )
