"""The workspace controller as a program: the environment in, frozen settings out, and run."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping

import cloudproviders
from apis.kaito.v1beta1.labels import RECONCILE_ID_ANNOTATION, TRACE_PARENT_ANNOTATION
from apis.kaito.v1beta1.ragengine import RAG_ENGINES
from apis.kaito.v1beta1.workspace import WORKSPACES
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from cloudproviders.errors import UnknownCloudError
from kube import config, log, origin, otlp
from kube.admission import AdmissionServer
from kube.client import Client
from kube.clock import Clock
from kube.config import ConfigError
from kube.debug import DebugServer
from kube.events import Recorder
from kube.lease import Lease
from kube.manager import Manager
from kube.meta import Key
from kube.origin import Annotations
from workspace_controller import pools, webhooks
from workspace_controller.controllers import controllers
from workspace_controller.informers import Informers
from workspace_controller.quota import TenantStores
from workspace_controller.raginformers import RagInformers
from workspace_controller.settings import (
    RAG_ENGINE_GATE,
    Process,
    Settings,
    SettingsError,
    process,
)
from workspace_controller.tenancyinformers import stores
from workspace_controller.wiring import settings_of
from workspace_controller.workspace.fieldowners import FIELD_MANAGER

logger = logging.getLogger("workspace_controller")

_NAME = "workspace-controller"


def main() -> None:
    """The console script."""
    sys.exit(run(os.environ))


def run(environment: Mapping[str, str]) -> int:
    """The process's exit code: 2 where the environment is wrong, which no restart will mend."""
    try:
        told = process(environment)
        log.configure(told.log_level)
        origin.handed_on(Annotations(RECONCILE_ID_ANNOTATION, TRACE_PARENT_ANNOTATION))
        with otlp.exporting(told.tracing, service=_NAME, instance=_identity(told)):
            asyncio.run(_serve(told))
    except (SettingsError, UnknownCloudError, ConfigError, otlp.SdkMissingError) as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        return 2
    return 0


async def _serve(told: Process) -> None:
    clock = Clock()
    settings = settings_of(
        told, cloudproviders.profile(told.cloud), cloudproviders.instance_types(told.cloud)
    )
    client = Client(
        config.load(told.kubeconfig or None, service=told.api_server),
        field_manager=FIELD_MANAGER,
        kinds=(WORKSPACES, RAG_ENGINES, NODE_CLAIMS, *pools.kinds(settings.node_classes)),
        clock=clock,
    )
    recorder = Recorder(client, "workspace", clock)
    informers = Informers.of(
        client, clock, byo=settings.facts.byo, node_classes=settings.node_classes
    )
    rag = None
    if told.gates[RAG_ENGINE_GATE]:
        rag = RagInformers.of(client, clock, informers, told.namespace)
    caches = [*informers.all(), *(rag.all() if rag else ())]
    running = controllers(client, informers, settings, recorder, clock, rag)
    lease = _lease(client, told, clock)
    manager = Manager(
        client=client,
        informers=caches,
        controllers=running,
        lease=lease,
        health_port=told.health_port,
        metrics_port=told.metrics_port,
        webhook=_webhook(told, settings, client, stores(informers, rag, settings), clock),
        recorder=recorder,
        clock=clock,
        shutdown_delay=told.shutdown_delay,
    )
    logger.info("cloud %s, node provisioner %s", told.cloud, told.provisioner)
    debug = DebugServer(
        told.debug_port,
        client=client,
        controllers=running,
        informers=caches,
        lease=lease,
        lease_key=Key(told.namespace, told.lease_name),
        clock=clock,
    )
    async with debug:
        await manager.run()


def _webhook(
    told: Process, settings: Settings, client: Client, tenants: TenantStores, clock: Clock
) -> AdmissionServer | None:
    if not told.webhook:
        return None
    return webhooks.server(told, settings.facts, client, tenants, clock)


def _lease(client: Client, told: Process, clock: Clock) -> Lease | None:
    if not told.leader_elect:
        return None
    return Lease(client, told.lease_name, told.namespace, _identity(told), clock)


def _identity(told: Process) -> str:
    return told.pod_name or f"{socket.gethostname()}_{os.getpid()}"


if __name__ == "__main__":
    main()
