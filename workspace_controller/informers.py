"""What is watched, and whose round a change of it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.client import Client
from kube.clock import Clock
from kube.informer import Informer
from kube.meta import Key, Resource
from kube.objects import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    ConfigMap,
    ControllerRevision,
    Namespace,
    Node,
    Pod,
    Unstructured,
)
from kube.store import Object
from workspace_controller import marks
from workspace_controller.nodes import candidates
from workspace_controller.nodes.candidates import BY_RAG_ENGINE
from workspace_controller.nodes.classes import NodeClasses
from workspace_controller.nodes.departed import Departed
from workspace_controller.nodes.wakes import NodeWakes
from workspace_controller.pools import PoolInformers
from workspace_controller.tenancyinformers import TenancyInformers
from workspace_controller.workspace import observe, owner
from workspace_controller.workspace.children import Child
from workspace_controller.workspace.experience import Experience
from workspace_controller.workspace.observe import (
    BY_CONFIG,
    BY_NODE,
    BY_OWNER,
    BY_PREFERRED,
    BY_UNMANAGED,
    Caches,
)

O = TypeVar("O", bound=Object)  # noqa: E741 - a type variable

STATEFUL_SETS: Resource[Unstructured] = Resource("apps", "v1", "StatefulSet", "statefulsets", Child)
SERVICES: Resource[Unstructured] = Resource("", "v1", "Service", "services", Child)
"""Whole, since what is there is compared with what should be."""

_EVERY_CLUSTER_HAS = "metadata.name!=kube-root-ca.crt"
"""One in each namespace, and nobody's engine options."""

_OF_WORKSPACES = {BY_CONFIG: observe.named_config, BY_PREFERRED: candidates.preferred}
OF_CLAIMS = {
    BY_OWNER: marks.index(marks.WORKSPACE.of_cluster_scoped),
    BY_RAG_ENGINE: marks.index(marks.RAG_ENGINE.of_cluster_scoped),
    BY_NODE: candidates.claim_node,
}
_OF_NODES = {
    BY_OWNER: marks.index(marks.WORKSPACE.of_cluster_scoped),
    BY_RAG_ENGINE: marks.index(marks.RAG_ENGINE.of_cluster_scoped),
    BY_UNMANAGED: candidates.is_unmanaged,
}
_OF_PODS = {BY_OWNER: marks.index(owner.of_child), BY_NODE: candidates.pod_node}
_OF_BENCHMARKS = {BY_OWNER: marks.index(owner.of_benchmark)}
_OF_LOADERS = {BY_OWNER: marks.index(owner.of_loader)}
_OF_REVISIONS = {BY_OWNER: marks.index(owner.of_revision)}


@dataclass(frozen=True)
class Informers:
    """The collections that decisions are made from."""

    workspaces: Informer[Workspace]
    node_claims: Informer[NodeClaim]
    nodes: Informer[Node]
    stateful_sets: Informer[Unstructured]
    services: Informer[Unstructured]
    jobs: Informer[Unstructured]
    pods: Informer[Pod]
    config_maps: Informer[ConfigMap]
    revisions: Informer[ControllerRevision]
    namespaces: Informer[Namespace]
    benchmarks: Informer[Pod]
    loaders: Informer[Pod]
    departed: Departed
    experience: Experience
    byo: bool
    pooled: PoolInformers | None
    tenancy: TenancyInformers

    @classmethod
    def of(
        cls, client: Client, clock: Clock, *, byo: bool, node_classes: NodeClasses | None = None
    ) -> Informers:
        """Of what others own only that part which carries our label; claims of pools carry
        another one than those that stand alone, so with pools all claims are looked at."""

        def of(
            kind: Resource[O],
            label: str = "",
            indexes: Mapping[str, Callable[[O], Iterable[str]]] | None = None,
            but: str = "",
        ) -> Informer[O]:
            return Informer(client, kind, labels=label, fields=but, indexes=indexes, clock=clock)

        found = cls(
            workspaces=of(WORKSPACES, indexes=_OF_WORKSPACES),
            node_claims=of(NODE_CLAIMS, "" if node_classes else labels.WORKSPACE_LABEL, OF_CLAIMS),
            nodes=of(NODES, indexes=_OF_NODES),
            stateful_sets=of(STATEFUL_SETS, labels.WORKSPACE_LABEL),
            services=of(SERVICES, labels.WORKSPACE_LABEL),
            jobs=of(JOBS, labels.WORKSPACE_LABEL),
            pods=of(PODS, labels.WORKSPACE_LABEL, _OF_PODS),
            config_maps=of(CONFIG_MAPS, but=_EVERY_CLUSTER_HAS),
            revisions=of(CONTROLLER_REVISIONS, labels.REVISION_NAME_LABEL, _OF_REVISIONS),
            namespaces=of(NAMESPACES),
            benchmarks=of(PODS, labels.BENCHMARK_LABEL, _OF_BENCHMARKS),
            loaders=of(PODS, labels.LOADER_LABEL, _OF_LOADERS),
            departed=Departed(),
            experience=Experience(),
            byo=byo,
            pooled=PoolInformers.of(client, clock, node_classes) if node_classes else None,
            tenancy=TenancyInformers.of(client, clock),
        )
        found.node_claims.subscribe(found.departed.changed)
        found.node_claims.subscribe(found.experience.changed)
        return found

    def all(self) -> list[Informer[Any]]:
        """Those to run. Where nodes are brought along the cluster need not know NodeClaims."""
        every = (getattr(self, each.name) for each in fields(self))
        found = [each for each in every if isinstance(each, Informer)]
        if self.byo:
            found.remove(self.node_claims)
        return [*found, *(self.pooled.all() if self.pooled else ()), *self.tenancy.all()]

    def caches(self) -> Caches:
        return Caches(
            workspaces=self.workspaces.store,
            node_claims=self.node_claims.store,
            nodes=self.nodes.store,
            stateful_sets=self.stateful_sets.store,
            services=self.services.store,
            jobs=self.jobs.store,
            pods=self.pods.store,
            config_maps=self.config_maps.store,
            revisions=self.revisions.store,
            namespaces=self.namespaces.store,
            benchmarks=self.benchmarks.store,
            loaders=self.loaders.store,
            departed=self.departed,
            experience=self.experience,
            unreadable_claims=lambda: self.node_claims.unreadable,
            pools=self.pooled.pools.store if self.pooled else None,
            node_classes=self.pooled.by_name if self.pooled else lambda: None,
            resource_quotas=self.tenancy.quotas_in,
            limit_ranges=self.tenancy.ranges_in,
            policies=self.tenancy.policies.store,
        )

    def wakes(self) -> NodeWakes:
        """Whose round a Node starts."""
        return NodeWakes(
            marks.WORKSPACE,
            self.workspaces.store,
            self.node_claims.store,
            self.nodes.store,
            byo=self.byo,
            pooled=self.pooled is not None,
        )

    def of_config(self, config: ConfigMap) -> Iterable[Key]:
        named = self.workspaces.store.by_index(BY_CONFIG, str(config.metadata.key))
        return [workspace.metadata.key for workspace in named]

    def of_node_class(self, node_class: Unstructured) -> Iterable[Key]:
        """Anybody's pool may be made from it, or wait for it."""
        return [workspace.metadata.key for workspace in self.workspaces.store.list()]
