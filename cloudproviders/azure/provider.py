"""AKS: one agent pool of one machine for each claim. NodeClaim ↔ ARM's words.

An order is one PUT. That it is done, the machine's Node tells; that it has failed, looks at the
list of pools tell, which all claims share. Nothing here waits for an operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import cloudproviders
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.karpenter.v1.nodepool import NodePool
from cloudproviders import selection
from cloudproviders.azure import agentpools, errors, nodeclass, notices, settings
from cloudproviders.azure.agentpools import AgentPool
from cloudproviders.azure.cluster import FRESH_SECONDS, AgentPools, Cluster
from cloudproviders.azure.errors import BusyError, RefusedError
from cloudproviders.azure.nodeclass import AKS_CLASS, AKS_NODE_CLASSES, KAITO_CLASS, PoolClass
from cloudproviders.azure.orders import Orders
from cloudproviders.azure.settings import AzureSettings
from cloudproviders.azure.sizes import Sizes
from cloudproviders.errors import NodeClaimNotFoundError, NodeClassNotReadyError
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
from kube.objects import NODES, Node

DRIFT_SECONDS = 300.0
"""How old the list of pools may be to tell that one has drifted."""
UNSAID_SECONDS = 5.0
"""Until we come again where nobody says how long to wait."""
OPERATORS_FAULTS = frozenset({403, 404})
"""Of reading the cluster's pools: no permission, or no such cluster."""


class AzureProvider(CloudProvider):
    """Its two halves: `Cluster` knows the pools, `Orders` knows what claims want of them."""

    name = "azure"
    node_classes: Sequence[GroupKind] = (KAITO_CLASS,)
    node_class_resources: Sequence[Resource[NodeClass]] = (AKS_NODE_CLASSES,)
    repair_policies: Sequence[RepairPolicy] = (
        RepairPolicy("Ready", "False", timedelta(minutes=10)),
        RepairPolicy("Ready", "Unknown", timedelta(minutes=10)),
        RepairPolicy("kubernetes.azure.com/NodeHealthy", "False", timedelta()),
    )
    """As Karpenter's Azure provider has them."""

    def __init__(
        self, api: AgentPools, client: Client, given: AzureSettings, clock: Clock | None = None
    ) -> None:
        clock = clock or Clock()
        types = cloudproviders.instance_types("azure")
        prefixes = cloudproviders.profile("azure").instance_type_prefixes
        self._client = client
        self._settings = given
        self._sizes = Sizes(types, prefixes, given)
        self._cluster = Cluster(api, client, clock)
        self._orders = Orders(self._cluster, self._sizes, given, clock)

    async def create(self, claim: NodeClaim, /) -> Instance | Pending:
        try:
            return await self._create(claim)
        except BusyError as busy:
            wait = UNSAID_SECONDS if busy.wait is None else max(busy.wait, 1.0)
            return Pending(message=f"waiting: {busy}", look_again=wait, reason="Waiting")
        except RefusedError as refused:
            if refused.refusal.status in OPERATORS_FAULTS:
                raise errors.created_not(refused.refusal) from refused
            raise

    async def _create(self, claim: NodeClaim) -> Instance | Pending:
        pool = self._cluster.seen(claim) or await self._orders.known(claim)
        if pool is not None and (node := await self._cluster.arrival(pool)) is not None:
            self._orders.forget(claim)
            return self._instance(pool, node)
        pool = await self._orders.known(claim)  # which looks, where a look is due
        if pool is not None:
            return await self._orders.progress(pool, claim)
        return self._orders.pending(await self._orders.place(claim, await self._made_with(claim)))

    async def delete(self, claim: NodeClaim, /) -> None:
        pool = await self._cluster.pool_of(claim)
        if pool is None:
            self._orders.forget(claim)
            name = agentpools.pool_name(claim.metadata)
            raise NodeClaimNotFoundError(f"there is no agent pool {name} of that claim")
        await self._cluster.end(pool)

    async def get(self, provider_id: str, /) -> Instance:
        name = agentpools.pool_of(provider_id)
        pool = (await self._cluster.pools(FRESH_SECONDS)).get(name) if name else None
        if pool is None or not (pool.claim_uid or pool.predecessors):
            raise NodeClaimNotFoundError(f"no agent pool of ours has the machine {provider_id}")
        if pool.state != agentpools.DELETING and not await self._cluster.has(pool, provider_id):
            raise NodeClaimNotFoundError(f"agent pool {name} no longer has {provider_id}")
        return self._instance(pool, await self._cluster.node(pool), provider_id)

    async def list(self) -> Sequence[Instance]:
        """Also what the Go gpu-provisioner has made, as far as a Node tells whose it is."""
        pools = await self._cluster.pools(0.0)
        joined = (await self._client.list(NODES, labels=agentpools.POOL_LABEL)).items
        nodes = agentpools.youngest(joined)
        found = [
            self._instance(pool, nodes.get(name))
            for name, pool in pools.items()
            if pool.claim_uid or pool.predecessors
        ]
        return [each for each in found if each.claim_uid]

    async def instance_types(self, pool: NodePool | None = None, /) -> Sequence[InstanceType]:
        return self._orders.unavailable.applied(self._sizes.all())

    async def is_drifted(self, claim: NodeClaim, /) -> str:
        """Only of what a class of Karpenter's says; upgrades are AKS's own affair."""
        node_class = await self._class_of(claim)
        if node_class is None:
            return ""
        name = agentpools.pool_name(claim.metadata)
        pool = (await self._cluster.pools(DRIFT_SECONDS)).get(name)
        if pool is None or not agentpools.belongs(pool, claim.metadata):
            return ""
        return nodeclass.drift(node_class, claim, pool.properties, self._settings)

    def claim_of(self, node: Node, /) -> str:
        carried = node.metadata.labels
        if claim := carried.get(agentpools.CLAIM_LABEL):
            return claim
        ours = any(label in carried for label in selection.KAITO_LABELS)
        return carried.get(agentpools.POOL_LABEL, "") if ours else ""

    def interrupted(self, node: Node, now: datetime, /) -> Interruption | None:
        return notices.interruption(node)

    async def resolve(self, node_class: NodeClass, /) -> NodeClassStatus:
        version = await self._cluster.kubernetes_version()
        return nodeclass.judged(node_class, self._settings, version)

    async def close(self) -> None:
        await self._cluster.close()

    async def _class_of(self, claim: NodeClaim) -> NodeClass | None:
        """The object that the claim refers to; None where the reference is a mere name."""
        ref = claim.spec.node_class_ref
        if GroupKind(ref.group, ref.kind) != AKS_CLASS:
            return None
        found = await self._client.get(AKS_NODE_CLASSES, ref.name)
        if found is None:
            raise NodeClassNotReadyError(f"AKSNodeClass {ref.name} does not exist")
        return found

    async def _made_with(self, claim: NodeClaim) -> PoolClass:
        node_class = await self._class_of(claim)
        if node_class is None:
            return nodeclass.of_settings(self._settings)
        try:
            return nodeclass.of_class(node_class, self._settings)
        except ValueError as error:
            name = node_class.metadata.name
            raise NodeClassNotReadyError(f"AKSNodeClass {name}: {error}") from error

    def _instance(self, pool: AgentPool, node: Node | None, provider_id: str = "") -> Instance:
        size = self._sizes.get(pool.size)
        return agentpools.instance(pool, size, self._settings.location, node, provider_id)


def build(given: Mapping[str, str], client: Client) -> CloudProvider:
    """From AZURE_… (docs/clouds/azure.md); CloudConfigurationError where they cannot work."""
    from cloudproviders.azure.sdk import AgentPoolsClient  # 0.2 s, for those alone who need it

    parsed = settings.parse(given)
    clock = Clock()
    return AzureProvider(AgentPoolsClient(parsed, clock), client, parsed, clock)
