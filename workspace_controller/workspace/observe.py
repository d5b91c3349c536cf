"""Look once: all that concerns a Workspace, from the caches alone. No request is waited for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from apis.reports import Reports
from kube.meta import Key
from kube.objects import (
    ConfigMap,
    ControllerRevision,
    LimitRange,
    Namespace,
    Node,
    Pod,
    ResourceQuota,
    Unstructured,
)
from kube.store import Store
from workspace_controller import marks
from workspace_controller.manifests import networkpolicy
from workspace_controller.manifests.service import headless_name
from workspace_controller.nodes import stores, wakes
from workspace_controller.nodes.candidates import BY_NODE, BY_OWNER, BY_UNMANAGED, Occupants
from workspace_controller.nodes.departed import Departed
from workspace_controller.nodes.stores import NodeStores
from workspace_controller.quota import Tenant, TenantStores
from workspace_controller.workspace import owner
from workspace_controller.workspace.experience import Experience
from workspace_controller.workspace.models import Answer
from workspace_controller.workspace.observed import Observed

__all__ = ["BY_CONFIG", "BY_NODE", "BY_OWNER", "BY_PREFERRED", "BY_UNMANAGED", "Caches", "observe"]

BY_CONFIG = "config"
BY_PREFERRED = wakes.BY_PREFERRED


def nobody_asked(_: Workspace) -> None:
    return None


def nameless(_: Workspace) -> str:
    return ""


def nothing_in(_: str) -> tuple[()]:
    return ()


def nothing_read(_: Iterable[Pod]) -> Mapping[str, Reports]:
    return {}


@dataclass(frozen=True, slots=True)
class Caches:
    """The stores of the informers. Claims, nodes, pods and revisions have the index
    BY_OWNER; claims and pods also BY_NODE, nodes BY_UNMANAGED; Workspaces BY_CONFIG and
    BY_PREFERRED. `unreadable_claims` are keys that exist but did not parse. `pools` is None where
    nodes do not come by pools; `node_classes` gives None while their kind is not served. `models`
    answers for presets that the catalogue does not have, `commits` for those that it has and has
    not pinned."""

    workspaces: Store[Workspace]
    node_claims: Store[NodeClaim]
    nodes: Store[Node]
    stateful_sets: Store[Unstructured]
    services: Store[Unstructured]
    pods: Store[Pod]
    config_maps: Store[ConfigMap]
    revisions: Store[ControllerRevision] = field(
        default_factory=lambda: Store({BY_OWNER: marks.index(owner.of_revision)})
    )
    jobs: Store[Unstructured] = field(default_factory=Store)
    namespaces: Store[Namespace] = field(default_factory=Store)
    benchmarks: Store[Pod] = field(default_factory=Store)
    loaders: Store[Pod] = field(default_factory=Store)
    departed: Departed = field(default_factory=Departed)
    experience: Experience = field(default_factory=Experience)
    unreadable_claims: Callable[[], Mapping[Key, str]] = dict
    reports: Callable[[Iterable[Pod]], Mapping[str, Reports]] = nothing_read
    models: Callable[[Workspace], Answer | None] = nobody_asked
    commits: Callable[[Workspace], Answer | None] = nobody_asked
    pools: Store[Unstructured] | None = None
    node_classes: Callable[[], Mapping[str, Unstructured] | None] = lambda: None
    others: tuple[Occupants, ...] = ()
    """Whoever else may fill a node."""
    namesake: Callable[[Workspace], str] = nameless
    """An elder object of another kind that has the Service of its name; empty where none has."""
    resource_quotas: Callable[[str], tuple[ResourceQuota, ...]] = nothing_in
    limit_ranges: Callable[[str], tuple[LimitRange, ...]] = nothing_in
    """Those of a namespace."""
    policies: Store[Unstructured] = field(default_factory=Store)
    """NetworkPolicies of Workspaces."""
    tenants: TenantStores | None = None
    """What GPU quotas are counted from; None where nobody counts."""

    def occupants(self) -> Occupants:
        """Workspaces. One that serves on a part of a node's GPUs leaves room for others; any other
        has planned with the whole node."""

        def fills(key: Key) -> bool:
            other = self.workspaces.get(key.name, key.namespace)
            return other is None or other.resource is None or other.resource.partition is None

        return Occupants(marks.WORKSPACE, self.pods, fills)

    def of_nodes(self) -> NodeStores:
        return NodeStores(
            node_claims=self.node_claims,
            nodes=self.nodes,
            occupants=(self.occupants(), *self.others),
            departed=self.departed,
            unreadable_claims=self.unreadable_claims,
            pools=self.pools,
            node_classes=self.node_classes,
        )


def named_config(workspace: Workspace) -> tuple[str, ...]:
    name = _config_name(workspace)
    return (str(Key(workspace.metadata.namespace, name)),) if name else ()


def _config_name(workspace: Workspace) -> str:
    work = workspace.inference or workspace.tuning
    return work.config if work is not None else ""


def observe(workspace: Workspace, caches: Caches, now: datetime, *, byo: bool) -> Observed:
    """Everything that the steps may ask for, as of one moment of the caches."""
    meta = workspace.metadata
    found = stores.look(workspace, caches.of_nodes(), byo=byo)
    names = (meta.name, headless_name(workspace))
    services = {name: caches.services.get(name, meta.namespace) for name in names}
    config = _config_name(workspace)
    namespace = caches.namespaces.get(meta.namespace)
    stateful_set = caches.stateful_sets.get(meta.name, meta.namespace)
    job = caches.jobs.get(meta.name, meta.namespace)
    pods = tuple(caches.pods.by_index(BY_OWNER, str(meta.key)))
    # Not before a node is on its way; nor of what runs, which keeps the weights that it has.
    unpinned = stateful_set is None and job is None and bool(found.claims or found.nodes)
    return Observed(
        now=now,
        claims=found.claims,
        departed=found.departed,
        nodes=found.nodes,
        taken=found.taken,
        pool=found.pool,
        node_classes=found.node_classes,
        stateful_set=stateful_set,
        job=job,
        services={name: each for name, each in services.items() if each is not None},
        pods=pods,
        reports=caches.reports(pods),
        revisions=tuple(caches.revisions.by_index(BY_OWNER, str(meta.key))),
        config=caches.config_maps.get(config, meta.namespace) if config else None,
        model=caches.models(workspace),
        pin=caches.commits(workspace) if unpinned else None,
        namespace_labels={} if namespace is None else namespace.metadata.labels,
        benchmarks=tuple(caches.benchmarks.by_index(BY_OWNER, str(meta.key))),
        loaders=tuple(caches.loaders.by_index(BY_OWNER, str(meta.key))),
        nonce=secrets.token_urlsafe(32),
        usual=caches.experience.of(workspace.resource.instance_type if workspace.resource else ""),
        namesake=caches.namesake(workspace),
        tenant=Tenant(caches.tenants, workspace) if caches.tenants is not None else None,
        resource_quotas=caches.resource_quotas(meta.namespace),
        limit_ranges=caches.limit_ranges(meta.namespace),
        policy=caches.policies.get(networkpolicy.name(workspace), meta.namespace),
    )
