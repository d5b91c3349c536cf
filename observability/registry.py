"""`python -m observability.registry provisioner|workspace`: a controller's metrics, as JSON.

Counters and histograms are asked of their constructors; collectors, which have no samples without
a cluster, are asked with empty caches: each of their families carries its label names.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from kube import config
from kube.client import Client
from kube.clock import Clock
from kube.controller import Runnable
from kube.leadermetrics import WhileLeading
from kube.metrics import REGISTRY

_NOBODY = config.Endpoint("http://127.0.0.1:1")


def _wrapped() -> Iterator[dict[str, Any]]:
    """Of the registry; processes' and Python's own are as prometheus_client documents them."""
    for collector in list(REGISTRY._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            (family,) = collector.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield _told(name, family, collector._labelnames)
        else:
            for family in collector.collect():
                name = f"{family.name}_total" if family.type == "counter" else family.name
                yield _told(name, family, sorted({k for s in family.samples for k in s.labels}))


def _collected(runnables: Iterable[Runnable]) -> Iterator[dict[str, Any]]:
    for each in runnables:
        if isinstance(each, WhileLeading):
            for family in each.collect():
                yield _told(family.name, family, getattr(family, "_labelnames", ()))


def _told(name: str, family: Metric, labels: Iterable[str]) -> dict[str, Any]:
    return {
        "name": name,
        "type": family.type,
        "labels": list(labels),
        "help": family.documentation,
    }


def _provisioner() -> list[Runnable]:
    import cloudproviders
    from gpu_provisioner.controllers import controllers
    from gpu_provisioner.shared import Caches, Shared

    clock = Clock()
    client = Client(_NOBODY, field_manager="nobody")
    cloud = cloudproviders.load("kwok", {}, client)
    caches = Caches.of(client, cloud, clock)
    nobody: Any = None
    return controllers(Shared(client, cloud, nobody, clock=clock), caches)


def _workspace() -> list[Runnable]:
    import cloudproviders
    from workspace_controller.controllers import controllers
    from workspace_controller.informers import Informers
    from workspace_controller.raginformers import RagInformers
    from workspace_controller.settings import process
    from workspace_controller.wiring import settings_of

    told = process({"CLOUD_PROVIDER": "local"})
    settings = settings_of(
        told, cloudproviders.profile(told.cloud), cloudproviders.instance_types(told.cloud)
    )
    clock = Clock()
    client = Client(_NOBODY, field_manager="nobody")
    informers = Informers.of(client, clock, byo=False)
    rag = RagInformers.of(client, clock, informers, "default")
    nobody: Any = None
    return controllers(client, informers, settings, nobody, clock, rag)


async def _print(program: str) -> None:
    runnables = {"provisioner": _provisioner, "workspace": _workspace}[program]()
    print(json.dumps([*_wrapped(), *_collected(runnables)]))


if __name__ == "__main__":
    asyncio.run(_print(sys.argv[1]))
