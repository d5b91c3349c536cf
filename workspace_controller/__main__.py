"""The workspace controller as a program: the environment in, frozen settings out, and run."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping

import cloudproviders
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import UnknownCloudError
from kube import config, log, metrics
from kube.admission import AdmissionServer
from kube.client import Client
from kube.clock import Clock
from kube.config import ConfigError
from kube.events import Recorder
from kube.lease import Lease
from kube.manager import Manager
from workspace_controller import pools, webhooks
from workspace_controller.controllers import controllers
from workspace_controller.informers import Informers
from workspace_controller.metrics import WorkspaceCollector
from workspace_controller.settings import Process, Settings, SettingsError, process
from workspace_controller.wiring import settings_of
from workspace_controller.workspace.fieldowners import FIELD_MANAGER

logger = logging.getLogger("workspace_controller")

_LEASE = "workspace-leader-election"


def main() -> None:
    """The console script."""
    sys.exit(run(os.environ))


def run(environment: Mapping[str, str]) -> int:
    """The process's exit code: 2 where the environment is wrong, which no restart will mend."""
    try:
        told = process(environment)
        log.configure(told.log_level)
        asyncio.run(_serve(told))
    except (SettingsError, UnknownCloudError, ConfigError) as error:
        print(f"workspace-controller: {error}", file=sys.stderr)
        return 2
    return 0


async def _serve(told: Process) -> None:
    clock = Clock()
    settings = settings_of(
        told, cloudproviders.profile(told.cloud), cloudproviders.instance_types(told.cloud)
    )
    client = Client(
        config.load(told.kubeconfig or None),
        field_manager=FIELD_MANAGER,
        kinds=(WORKSPACES, NODE_CLAIMS, *pools.kinds(settings.node_classes)),
        clock=clock,
    )
    recorder = Recorder(client, "workspace", clock)
    informers = Informers.of(
        client, clock, byo=settings.facts.byo, node_classes=settings.node_classes
    )
    metrics.REGISTRY.register(WorkspaceCollector(informers.workspaces.store))
    manager = Manager(
        client=client,
        informers=informers.all(),
        controllers=controllers(client, informers, settings, recorder, clock),
        lease=_lease(client, told, clock),
        health_port=told.health_port,
        metrics_port=told.metrics_port,
        webhook=_webhook(told, settings, client, informers, clock),
        recorder=recorder,
        clock=clock,
    )
    logger.info("cloud %s, node provisioner %s", told.cloud, told.provisioner)
    await manager.run()


def _webhook(
    told: Process, settings: Settings, client: Client, informers: Informers, clock: Clock
) -> AdmissionServer | None:
    if not told.webhook:
        return None
    return webhooks.server(told, settings.facts, client, informers.nodes.store, clock)


def _lease(client: Client, told: Process, clock: Clock) -> Lease | None:
    if not told.leader_elect:
        return None
    identity = told.pod_name or f"{socket.gethostname()}_{os.getpid()}"
    return Lease(client, _LEASE, told.namespace, identity, clock)


if __name__ == "__main__":
    main()
