"""What is watched for RAGEngines beside what is watched for Workspaces, and whose round it starts.

Nothing is watched twice: nodes, ConfigMaps and, where nodes come by pools, claims and pools are the
Workspaces' own informers; of the rest only what carries the label of RAGEngines. Volume claims are
their users' and carry no label, so that all of them are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from apis.kaito.v1beta1 import labels
from apis.kaito.v1beta1.ragengine import RAG_ENGINES, RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.client import Client
from kube.clock import Clock
from kube.informer import Informer
from kube.meta import Key, Resource
from kube.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    ConfigMap,
    PersistentVolumeClaim,
    Pod,
    Unstructured,
)
from kube.store import Object
from workspace_controller import marks, namesakes
from workspace_controller.informers import OF_CLAIMS, SERVICES, Informers
from workspace_controller.nodes import candidates
from workspace_controller.nodes.candidates import Occupants
from workspace_controller.nodes.stores import NodeStores
from workspace_controller.nodes.wakes import BY_PREFERRED, NodeWakes
from workspace_controller.ragengine import references
from workspace_controller.ragengine.observe import BY_CLAIM, BY_CONFIG, BY_OWNER, Caches
from workspace_controller.workspace.children import Child

O = TypeVar("O", bound=Object)  # noqa: E741 - a type variable

DEPLOYMENTS: Resource[Unstructured] = Resource("apps", "v1", "Deployment", "deployments", Child)
"""Whole, since what is there is compared with what should be."""

_OF_PODS = {
    BY_OWNER: marks.index(marks.RAG_ENGINE.of_child),
    candidates.BY_NODE: candidates.pod_node,
}


@dataclass(frozen=True)
class RagInformers:
    """The collections that decisions on RAGEngines are made from. Their own kind may not be served,
    in a cluster whose CRDs are older: then there are none."""

    shared: Informers
    namespace: str
    """The release's, where the default guardrails policy lies."""
    engines: Informer[RAGEngine]
    own_claims: Informer[NodeClaim] | None
    """None where claims are not asked for, or all of them are looked at for the Workspaces."""
    deployments: Informer[Unstructured]
    services: Informer[Unstructured]
    pods: Informer[Pod]
    volume_claims: Informer[PersistentVolumeClaim]

    @classmethod
    def of(cls, client: Client, clock: Clock, shared: Informers, namespace: str) -> RagInformers:
        def of(
            kind: Resource[O],
            label: str = labels.RAGENGINE_LABEL,
            indexes: Mapping[str, Callable[[O], Iterable[str]]] | None = None,
        ) -> Informer[O]:
            return Informer(client, kind, labels=label, indexes=indexes, clock=clock)

        engines: Informer[RAGEngine] = Informer(
            client,
            RAG_ENGINES,
            indexes={
                BY_CONFIG: references.config_index(namespace),
                BY_CLAIM: references.claim_index,
                BY_PREFERRED: candidates.preferred,
            },
            clock=clock,
            optional=True,
        )
        alone = not shared.byo and shared.pooled is None
        claims = of(NODE_CLAIMS, indexes=OF_CLAIMS) if alone else None
        if claims is not None:
            claims.subscribe(shared.departed.changed)
            claims.subscribe(shared.experience.changed)
        return cls(
            shared=shared,
            namespace=namespace,
            engines=engines,
            own_claims=claims,
            deployments=of(DEPLOYMENTS),
            services=of(SERVICES),
            pods=of(PODS, indexes=_OF_PODS),
            volume_claims=of(PERSISTENT_VOLUME_CLAIMS, ""),
        )

    def all(self) -> list[Informer[Any]]:
        """Those to run beside the shared ones."""
        found: list[Informer[Any]] = [
            self.engines,
            self.deployments,
            self.services,
            self.pods,
            self.volume_claims,
        ]
        return [*found, self.own_claims] if self.own_claims is not None else found

    @property
    def node_claims(self) -> Informer[NodeClaim]:
        return self.own_claims or self.shared.node_claims

    def caches(self) -> Caches:
        shared = self.shared
        pooled = shared.pooled
        return Caches(
            engines=self.engines.store,
            nodes=NodeStores(
                node_claims=self.node_claims.store,
                nodes=shared.nodes.store,
                occupants=(self.occupants(), self._workspaces()),
                departed=shared.departed,
                unreadable_claims=lambda: self.node_claims.unreadable,
                pools=pooled.pools.store if pooled else None,
                node_classes=pooled.by_name if pooled else lambda: None,
            ),
            deployments=self.deployments.store,
            services=self.services.store,
            pods=self.pods.store,
            volume_claims=self.volume_claims.store,
            config_maps=shared.config_maps.store,
            namespace=self.namespace,
            namesake=self._before_engine,
            resource_quotas=shared.tenancy.quotas_in,
            limit_ranges=shared.tenancy.ranges_in,
            policies=shared.tenancy.engine_policies.store,
        )

    def occupants(self) -> Occupants:
        """RAGEngines with a node of their own: they share it with nobody. One without runs
        wherever there is room, and takes nobody's."""

        def fills(key: Key) -> bool:
            other = self.engines.store.get(key.name, key.namespace)
            return other is None or other.resource is not None

        return Occupants(marks.RAG_ENGINE, self.pods.store, fills)

    def _workspaces(self) -> Occupants:
        """Whatever they leave free: our pods keep away from theirs."""
        return Occupants(marks.WORKSPACE, self.shared.pods.store, lambda _: True)

    def before_workspace(self, workspace: Workspace) -> str:
        """The RAGEngine that has the Service of the Workspace's name; empty where none has."""
        name, namespace = workspace.metadata.name, workspace.metadata.namespace
        return namesakes.holder(
            workspace,
            self.engines.store.get(name, namespace),
            service=self.shared.services.store.get(name, namespace),
            others=self.services.store.get(name, namespace),
        )

    def _before_engine(self, engine: RAGEngine) -> str:
        name, namespace = engine.metadata.name, engine.metadata.namespace
        return namesakes.holder(
            engine,
            self.shared.workspaces.store.get(name, namespace),
            service=self.services.store.get(name, namespace),
            others=self.shared.services.store.get(name, namespace),
        )

    def wakes(self) -> NodeWakes:
        return NodeWakes(
            marks.RAG_ENGINE,
            self.engines.store,
            self.node_claims.store,
            self.shared.nodes.store,
            byo=self.shared.byo,
            pooled=self.shared.pooled is not None,
        )

    def of_config(self, config: ConfigMap) -> Iterable[Key]:
        """Those whose policy it is, or comes from, and the one that it was made for."""
        key = str(config.metadata.key)
        named = [each.metadata.key for each in self.engines.store.by_index(BY_CONFIG, key)]
        return [*named, *marks.RAG_ENGINE.of_child(config)]

    def of_volume_claim(self, claim: PersistentVolumeClaim) -> Iterable[Key]:
        found = self.engines.store.by_index(BY_CLAIM, str(claim.metadata.key))
        return [each.metadata.key for each in found]

    def of_node_class(self, node_class: Unstructured) -> Iterable[Key]:
        """Anybody's pool may be made from it, or wait for it."""
        return [each.metadata.key for each in self.engines.store.list()]
