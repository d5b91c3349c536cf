"""Look once: all that concerns a RAGEngine, from the caches alone. No request is waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from apis.kaito.v1beta1.ragengine import RAGEngine
from kube.objects import (
    ConfigMap,
    LimitRange,
    PersistentVolumeClaim,
    Pod,
    ResourceQuota,
    Unstructured,
)
from kube.store import Store
from workspace_controller.manifests import networkpolicy, ragenvironment
from workspace_controller.manifests.ragengine import policy_name
from workspace_controller.nodes import stores
from workspace_controller.nodes.stores import NodesFound, NodeStores
from workspace_controller.quota import Tenant, TenantStores
from workspace_controller.ragengine import references
from workspace_controller.ragengine.observed import Observed
from workspace_controller.workspace.observe import nothing_in

BY_OWNER = "ragengine"
BY_CONFIG = "config"
BY_CLAIM = "claim"

_NO_NODES = NodesFound((), (), (), frozenset(), None, None)


@dataclass(frozen=True, slots=True)
class Caches:
    """The stores of the informers. Pods have the index BY_OWNER."""

    engines: Store[RAGEngine]
    nodes: NodeStores
    deployments: Store[Unstructured]
    services: Store[Unstructured]
    pods: Store[Pod]
    volume_claims: Store[PersistentVolumeClaim]
    config_maps: Store[ConfigMap]
    namespace: str
    """The release's."""
    namesake: Callable[[RAGEngine], str]
    resource_quotas: Callable[[str], tuple[ResourceQuota, ...]] = nothing_in
    limit_ranges: Callable[[str], tuple[LimitRange, ...]] = nothing_in
    """Those of a namespace."""
    policies: Store[Unstructured] = field(default_factory=Store)
    """NetworkPolicies of RAGEngines."""
    tenants: TenantStores | None = None
    """What GPU quotas are counted from; None where nobody counts."""


def observe(engine: RAGEngine, caches: Caches, now: datetime, *, byo: bool) -> Observed:
    """Everything but Secrets, as of one moment of the caches. One without compute has no nodes."""
    meta = engine.metadata
    found = _NO_NODES if engine.resource is None else stores.look(engine, caches.nodes, byo=byo)
    claim = ragenvironment.volume(engine)
    config = references.config_key(engine, caches.namespace)
    chosen = references.settings_key(engine)
    return Observed(
        now=now,
        claims=found.claims,
        departed=found.departed,
        nodes=found.nodes,
        taken=found.taken,
        pool=found.pool,
        node_classes=found.node_classes,
        deployment=caches.deployments.get(meta.name, meta.namespace),
        service=caches.services.get(meta.name, meta.namespace),
        pods=tuple(caches.pods.by_index(BY_OWNER, str(meta.key))),
        volume_claim=caches.volume_claims.get(claim.persistent_volume_claim, meta.namespace)
        if claim
        else None,
        config=caches.config_maps.get(config.name, config.namespace) if config else None,
        settings=caches.config_maps.get(chosen.name, chosen.namespace) if chosen else None,
        policy=caches.config_maps.get(policy_name(engine), meta.namespace),
        namesake=caches.namesake(engine),
        tenant=Tenant(caches.tenants, engine) if caches.tenants is not None else None,
        resource_quotas=caches.resource_quotas(meta.namespace),
        limit_ranges=caches.limit_ranges(meta.namespace),
        network_policy=caches.policies.get(networkpolicy.name(engine), meta.namespace),
    )
