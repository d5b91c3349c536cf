"""What runs, and what wakes what."""

from __future__ import annotations

import dataclasses

from apis.kaito.v1beta1.workspace import Workspace
from kube.client import Client
from kube.clock import Clock
from kube.controller import Controller, Runnable
from kube.objects import Pod
from presets import fetch
from workspace_controller.informers import Informers
from workspace_controller.models import ModelSource
from workspace_controller.nodeclasses import NodeClassInstaller
from workspace_controller.podlogs import PodLogs
from workspace_controller.settings import Settings
from workspace_controller.workspace import candidates, owner
from workspace_controller.workspace.reconciler import Recorder, WorkspaceReconciler

_WORKERS = 64
"""A round mostly waits for the API server; with few workers a burst of Workspaces queues here."""


def workspace_controller(
    client: Client,
    informers: Informers,
    settings: Settings,
    recorder: Recorder,
    clock: Clock,
    models: ModelSource | None = None,
    logs: PodLogs | None = None,
) -> Controller[Workspace]:
    """Workspaces, woken by whatever is theirs; without `models` only the catalogue's are served,
    without `logs` pods say nothing of themselves."""
    caches = informers.caches()
    if logs is not None:
        caches = dataclasses.replace(caches, reports=logs.of)
    if models is not None:
        caches = dataclasses.replace(caches, models=models.ask, commits=models.ask_commit)
    reconciler = WorkspaceReconciler(client, caches, settings, recorder, clock)
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
    if not informers.byo:
        controller.watch(informers.node_claims, owner.of_cluster_scoped)
    if informers.pooled is not None:
        controller.watch(informers.pooled.pools, owner.of_cluster_scoped)
        if informers.pooled.classes is not None:
            controller.watch(informers.pooled.classes, informers.of_node_class)
    controller.watch(informers.nodes, informers.of_node)
    controller.watch(informers.stateful_sets, owner.of_child)
    controller.watch(informers.services, owner.of_child)
    controller.watch(informers.jobs, owner.of_child)
    controller.watch(informers.pods, owner.of_child)
    if informers.byo:
        controller.watch(informers.pods, informers.beside, stirs=_takes_room_elsewhere)
    controller.watch(informers.config_maps, informers.of_config)
    controller.watch(informers.revisions, owner.of_revision)
    controller.watch(informers.benchmarks, owner.of_benchmark)
    controller.watch(informers.loaders, owner.of_loader)
    return controller


def controllers(
    client: Client, informers: Informers, settings: Settings, recorder: Recorder, clock: Clock
) -> list[Runnable]:
    """All that runs."""
    hub = fetch.Hub(settings.weights.endpoint, sleep=clock.sleep)
    models = ModelSource(client, settings.catalog, clock, hub, offline=settings.weights.offline)
    logs = PodLogs(client, informers.pods.store, clock) if settings.pod_logs else None
    found: list[Runnable] = [
        workspace_controller(client, informers, settings, recorder, clock, models, logs),
        models,
        *([logs] if logs is not None else []),
    ]
    pooled, node_classes = informers.pooled, settings.node_classes
    if pooled is not None and pooled.classes is not None and node_classes is not None:
        found.append(NodeClassInstaller(client, pooled.classes, node_classes))
    return found


def _takes_room_elsewhere(old: Pod, new: Pod) -> bool:
    return candidates.pod_node(old) != candidates.pod_node(new)
