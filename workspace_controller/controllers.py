"""What runs, over which caches, and what wakes what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from apis.kaito.v1beta1.labels import WORKSPACE_LABEL
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.client import Client
from kube.clock import Clock
from kube.controller import Controller
from kube.informer import Informer
from kube.meta import Key, Resource
from kube.objects import CONFIG_MAPS, NODES, PODS, SERVICES, ConfigMap, Node, Pod, Unstructured
from kube.store import Object
from workspace_controller.nodes.provisioner import user_labels
from workspace_controller.settings import Settings
from workspace_controller.workspace import observe
from workspace_controller.workspace.departed import Departed
from workspace_controller.workspace.observe import BY_CONFIG, BY_NODE, BY_OWNER, Caches
from workspace_controller.workspace.reconciler import Recorder, WorkspaceReconciler

STATEFUL_SETS = Resource("apps", "v1", "StatefulSet", "statefulsets", Unstructured)
"""Whole, since what is there is compared with what should be."""

_EVERY_CLUSTER_HAS = "metadata.name!=kube-root-ca.crt"
"""One in each namespace, and nobody's engine options."""


@dataclass(frozen=True)
class Informers:
    """The collections that decisions are made from."""

    workspaces: Informer[Workspace]
    node_claims: Informer[NodeClaim]
    nodes: Informer[Node]
    stateful_sets: Informer[Unstructured]
    services: Informer[Unstructured]
    pods: Informer[Pod]
    config_maps: Informer[ConfigMap]
    departed: Departed
    byo: bool

    @classmethod
    def of(cls, client: Client, clock: Clock, *, byo: bool) -> Informers:
        """Of what others own only that part which carries our label."""
        departed = Departed()
        found = cls(
            workspaces=Informer(
                client, WORKSPACES, indexes={BY_CONFIG: observe.named_config}, clock=clock
            ),
            node_claims=Informer(
                client,
                NODE_CLAIMS,
                labels=WORKSPACE_LABEL,
                indexes={BY_OWNER: observe.by_owner, BY_NODE: observe.claim_node},
                clock=clock,
            ),
            nodes=Informer(client, NODES, indexes={BY_OWNER: observe.by_owner}, clock=clock),
            stateful_sets=Informer(client, STATEFUL_SETS, labels=WORKSPACE_LABEL, clock=clock),
            services=Informer(client, SERVICES, labels=WORKSPACE_LABEL, clock=clock),
            pods=Informer(
                client,
                PODS,
                labels=WORKSPACE_LABEL,
                indexes={BY_OWNER: observe.pod_owner},
                clock=clock,
            ),
            config_maps=Informer(client, CONFIG_MAPS, fields=_EVERY_CLUSTER_HAS, clock=clock),
            departed=departed,
            byo=byo,
        )
        found.node_claims.subscribe(departed.changed)
        return found

    def all(self) -> list[Informer[Any]]:
        """Those to run. Where nodes are brought along the cluster need not know NodeClaims."""
        claims = [] if self.byo else [self.node_claims]
        return [self.workspaces, *claims, *self._others()]

    def caches(self) -> Caches:
        return Caches(
            workspaces=self.workspaces.store,
            node_claims=self.node_claims.store,
            nodes=self.nodes.store,
            stateful_sets=self.stateful_sets.store,
            services=self.services.store,
            pods=self.pods.store,
            config_maps=self.config_maps.store,
            departed=self.departed,
            unreadable_claims=lambda: self.node_claims.unreadable,
        )

    def of_node(self, node: Node) -> Iterable[Key]:
        """By its labels, by the claim that names it, or by the selectors that match it."""
        found = {observe.owner(node.metadata)}
        for claim in self.node_claims.store.by_index(BY_NODE, node.metadata.name):
            found.add(observe.owner(claim.metadata))
        if self.byo:
            found.update(
                workspace.metadata.key
                for workspace in self.workspaces.store.list()
                if user_labels(workspace).items() <= node.metadata.labels.items()
            )
        return [key for key in found if key is not None]

    def of_config(self, config: ConfigMap) -> Iterable[Key]:
        named = self.workspaces.store.by_index(BY_CONFIG, str(config.metadata.key))
        return [workspace.metadata.key for workspace in named]

    def _others(self) -> list[Informer[Any]]:
        return [self.nodes, self.stateful_sets, self.services, self.pods, self.config_maps]


_WORKERS = 64
"""A round mostly waits for the API server; with few workers a burst of Workspaces queues here."""


def workspace_controller(
    client: Client, informers: Informers, settings: Settings, recorder: Recorder, clock: Clock
) -> Controller[Workspace]:
    """Workspaces, woken by whatever is theirs."""
    reconciler = WorkspaceReconciler(client, informers.caches(), settings, recorder, clock)
    controller = Controller(
        "workspace",
        informers.workspaces,
        reconciler,
        workers=_WORKERS,
        backoff=(0.1, 300.0),
        clock=clock,
    )
    if not informers.byo:
        controller.watch(informers.node_claims, _of_claim)
    controller.watch(informers.nodes, informers.of_node)
    controller.watch(informers.stateful_sets, _of_child)
    controller.watch(informers.services, _of_child)
    controller.watch(informers.pods, _of_child)
    controller.watch(informers.config_maps, informers.of_config)
    return controller


def _of_claim(claim: NodeClaim) -> Iterable[Key]:
    key = observe.owner(claim.metadata)
    return [key] if key else []


def _of_child(child: Object) -> Iterable[Key]:
    name = child.metadata.labels.get(WORKSPACE_LABEL, "")
    return [Key(child.metadata.namespace, name)] if name else []
