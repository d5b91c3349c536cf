"""gpu-provisioner: NodeClaims in, nodes out. The only reader of the environment."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys

import cloudproviders
from apis.kaito.v1beta1.labels import RECONCILE_ID_ANNOTATION, TRACE_PARENT_ANNOTATION
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from cloudproviders.errors import CloudConfigurationError
from gpu_provisioner import settings as settings_
from gpu_provisioner.controllers import controllers
from gpu_provisioner.settings import Settings
from gpu_provisioner.shared import Caches, Shared
from kube import config, log, origin, otlp
from kube.client import Client
from kube.clock import Clock, ServerClock
from kube.debug import DebugServer
from kube.events import Recorder
from kube.lease import Lease
from kube.manager import Manager
from kube.meta import Key
from kube.origin import Annotations

NAME = "gpu-provisioner"

logger = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Until a signal; CloudConfigurationError or ConfigError where the settings cannot work."""
    clock = ServerClock()
    client = Client(
        config.load(settings.kubeconfig, service=settings.api_server),
        field_manager=NAME,
        kinds=[NODE_CLAIMS, NODE_POOLS],
        clock=clock,
    )
    try:
        cloud = cloudproviders.load(settings.cloud, settings.cloud_settings, client)
    except CloudConfigurationError:
        await client.close()
        raise
    recorder = Recorder(client, NAME, clock)
    caches = Caches.of(client, cloud, clock)
    shared = Shared(
        client,
        cloud,
        recorder,
        settings.timings,
        clock,
        workers=settings.workers,
        repair=settings.repair,
        node_classes=settings.node_classes,
    )
    running = controllers(shared, caches)
    lease = _lease(settings, client, clock)
    manager = Manager(
        client=client,
        informers=caches.all(),
        controllers=running,
        lease=lease,
        health_port=settings.health_port,
        metrics_port=settings.metrics_port,
        recorder=recorder,
        clock=clock,
    )
    debug = DebugServer(
        settings.debug_port,
        client=client,
        controllers=running,
        informers=caches.all(),
        lease=lease,
        lease_key=Key(settings.namespace, settings.lease_name),
        clock=clock,
    )
    try:
        async with debug:
            await manager.run()
    finally:
        await cloud.close()


def _lease(settings: Settings, client: Client, clock: Clock) -> Lease | None:
    if not settings.leader_election:
        return None
    return Lease(client, settings.lease_name, settings.namespace, _identity(settings), clock)


def _identity(settings: Settings) -> str:
    return settings.identity or f"{socket.gethostname()}_{os.getpid()}"


def main() -> int:
    """Exit status 2 for a configuration that cannot work, told in one line."""
    try:
        settings = settings_.from_environment(os.environ)
    except ValueError as error:
        return _misconfigured(error)
    log.configure(settings.log_level)
    origin.handed_on(Annotations(RECONCILE_ID_ANNOTATION, TRACE_PARENT_ANNOTATION))
    try:
        with otlp.exporting(settings.tracing, service=NAME, instance=_identity(settings)):
            asyncio.run(run(settings))
    except (CloudConfigurationError, config.ConfigError, otlp.SdkMissingError) as error:
        return _misconfigured(error)
    return 0


def _misconfigured(error: Exception) -> int:
    print(f"{NAME}: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
