"""What runs, and what wakes what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.registry import Collector

from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from apis.karpenter.v1.nodeclaim import NodeClaim
from kube.client import Client
from kube.clock import Clock
from kube.conditionmetrics import ConditionCollector, Watched
from kube.controller import Controller, Runnable
from kube.informer import Informer
from kube.leadermetrics import WhileLeading
from kube.meta import Key
from kube.objects import Pod, Unstructured
from presets import fetch
from workspace_controller import marks, tenancyinformers
from workspace_controller.informers import Informers
from workspace_controller.metrics import (
    RAGEngineCollector,
    VolumeClaimCollector,
    WorkspaceCollector,
)
from workspace_controller.models import ModelSource
from workspace_controller.nodeclasses import NodeClassInstaller
from workspace_controller.nodes.wakes import NodeWakes, takes_room_elsewhere
from workspace_controller.podlogs import PodLogs
from workspace_controller.ragengine.reconciler import RAGEngineReconciler
from workspace_controller.raginformers import RagInformers
from workspace_controller.settings import Settings
from workspace_controller.startmetrics import ColdStartCollector
from workspace_controller.workspace import owner
from workspace_controller.workspace.reconciler import WorkspaceReconciler
from workspace_controller.writer import Recorder

_WORKERS = 64
"""A round mostly waits for the API server; with few workers a burst of Workspaces queues here."""
_RAG_WORKERS = 8
"""There are few RAGEngines."""


def workspace_controller(
    client: Client,
    informers: Informers,
    settings: Settings,
    recorder: Recorder,
    clock: Clock,
    models: ModelSource | None = None,
    logs: PodLogs | None = None,
    rag: RagInformers | None = None,
) -> Controller[Workspace]:
    """Workspaces, woken by whatever is theirs; without `models` only the catalogue's are served,
    without `logs` pods say nothing of themselves, without `rag` nobody else takes their nodes."""
    caches = informers.caches()
    if rag is not None:
        caches = dataclasses.replace(
            caches, others=(rag.occupants(),), namesake=rag.before_workspace
        )
    if logs is not None:
        caches = dataclasses.replace(caches, reports=logs.of)
    if models is not None:
        caches = dataclasses.replace(caches, models=models.ask, commits=models.ask_commit)
    caches = dataclasses.replace(caches, tenants=tenancyinformers.stores(informers, rag, settings))
    gate = informers.tenancy.gate
    reconciler = WorkspaceReconciler(client, caches, settings, recorder, clock, gate)
    controller = Controller(
        "workspace",
        informers.workspaces,
        reconciler,
        workers=_WORKERS,
        backoff=(0.1, 300.0),
        clock=clock,
    )
    if models is not None:
        models.wake = controller.queue.add
    if logs is not None:
        logs.wake = controller.queue.add
        informers.pods.subscribe(logs.changed)
    _watch_nodes(
        controller,
        informers,
        informers.wakes(),
        informers.node_claims,
        informers.of_node_class,
        (informers.pods, *((rag.pods,) if rag is not None else ())),
    )
    controller.watch(informers.stateful_sets, owner.of_child)
    controller.watch(informers.services, owner.of_child)
    controller.watch(informers.jobs, owner.of_child)
    controller.watch(informers.pods, owner.of_child)
    if rag is not None:
        controller.watch(rag.engines, _namesake)
    controller.watch(informers.config_maps, informers.of_config)
    controller.watch(informers.revisions, owner.of_revision)
    controller.watch(informers.benchmarks, owner.of_benchmark)
    controller.watch(informers.loaders, owner.of_loader)
    tenancyinformers.watch(controller, marks.WORKSPACE.kind, informers, rag)
    return controller


def ragengine_controller(
    client: Client, informers: RagInformers, settings: Settings, recorder: Recorder, clock: Clock
) -> Controller[RAGEngine]:
    """RAGEngines, woken by whatever is theirs."""
    shared = informers.shared
    tenants = tenancyinformers.stores(shared, informers, settings)
    caches = dataclasses.replace(informers.caches(), tenants=tenants)
    gate = shared.tenancy.gate
    reconciler = RAGEngineReconciler(client, caches, settings, recorder, clock, gate)
    controller = Controller(
        "ragengine",
        informers.engines,
        reconciler,
        workers=_RAG_WORKERS,
        backoff=(0.1, 300.0),
        clock=clock,
    )
    _watch_nodes(
        controller,
        shared,
        informers.wakes(),
        informers.node_claims,
        informers.of_node_class,
        (informers.pods, shared.pods),
    )
    whose = marks.RAG_ENGINE
    controller.watch(informers.deployments, whose.of_child)
    controller.watch(informers.services, whose.of_child)
    controller.watch(informers.pods, whose.of_child)
    controller.watch(informers.volume_claims, informers.of_volume_claim)
    controller.watch(shared.config_maps, informers.of_config)
    controller.watch(shared.workspaces, _namesake)
    tenancyinformers.watch(controller, marks.RAG_ENGINE.kind, shared, informers)
    return controller


def _watch_nodes(
    controller: Controller[Any],
    informers: Informers,
    wakes: NodeWakes,
    node_claims: Informer[NodeClaim],
    of_node_class: Callable[[Unstructured], Iterable[Key]],
    occupants: Iterable[Informer[Pod]],
) -> None:
    """Nodes, and whatever they come by. `occupants`: the pods of all who may fill a node."""
    whose, pooled = wakes.marks.of_cluster_scoped, informers.pooled
    if not informers.byo:
        controller.watch(node_claims, whose)
    if pooled is not None:
        controller.watch(pooled.pools, whose)
        if pooled.classes is not None:
            controller.watch(pooled.classes, of_node_class)
    controller.watch(informers.nodes, wakes.of_node)
    if informers.byo:
        for pods in occupants:
            controller.watch(pods, wakes.beside, stirs=takes_room_elsewhere)


def _namesake(other: Workspace | RAGEngine) -> tuple[Key, ...]:
    """The object of the other kind that has its name: one of them waits for the other's end."""
    return (other.metadata.key,)


def controllers(
    client: Client,
    informers: Informers,
    settings: Settings,
    recorder: Recorder,
    clock: Clock,
    rag: RagInformers | None = None,
) -> list[Runnable]:
    """All that runs."""
    hub = fetch.Hub(settings.weights.endpoint, sleep=clock.sleep)
    models = ModelSource(client, settings.catalog, clock, hub, offline=settings.weights.offline)
    logs = PodLogs(client, informers.pods.store, clock) if settings.pod_logs else None
    found: list[Runnable] = [
        workspace_controller(client, informers, settings, recorder, clock, models, logs, rag),
        models,
        *([logs] if logs is not None else []),
    ]
    if rag is not None:
        found.append(ragengine_controller(client, rag, settings, recorder, clock))
    pooled, node_classes = informers.pooled, settings.node_classes
    if pooled is not None and pooled.classes is not None and node_classes is not None:
        found.append(NodeClassInstaller(client, pooled.classes, node_classes))
    return [*found, _told_by_the_leader(informers, rag, clock)]


def _told_by_the_leader(
    informers: Informers, rag: RagInformers | None, clock: Clock
) -> WhileLeading:
    """Gauges over the whole cluster, and changes of conditions."""
    workspaces = informers.workspaces
    watched = [Watched(workspaces), *([Watched(rag.engines)] if rag is not None else [])]
    conditions = ConditionCollector(watched, clock)
    collectors: list[Collector] = [
        WorkspaceCollector(workspaces.store),
        ColdStartCollector(workspaces.store),
        conditions,
    ]
    if rag is not None:
        collectors.append(RAGEngineCollector(rag.engines.store))
        collectors.append(VolumeClaimCollector(rag.volume_claims.store))
    told = WhileLeading(collectors)
    conditions.leading = lambda: told.leading
    return told
