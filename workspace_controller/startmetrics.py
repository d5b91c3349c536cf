"""How long starts took, for Prometheus; what a start and its stages are:
`workspace_controller.workspace.coldstart`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from apis.kaito.v1beta1.status import ColdStart
from apis.kaito.v1beta1.workspace import Workspace
from kube.metrics import REGISTRY
from kube.store import Store
from workspace_controller.workspace.coldstart import STAGES

_SECONDS = (
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600, 900),
    *(1200, 1800, 2700, 3600, 7200),
)
NEWS = timedelta(hours=1)
"""A start that is over for longer is written down and not counted: after an upgrade all that serve
would be counted at once, on a day on which none started."""

STAGE_SECONDS = Histogram(
    "kaito_cold_start_stage_seconds",
    "How long a stage of a Workspace's start took: claim, launch, boot, driver, image, weights,"
    " load or first_token",
    ["stage"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
for _stage in STAGES:
    # There from the start with 0: what begins with 1 is no increase to Prometheus, and a first
    # start after each restart would not be seen.
    STAGE_SECONDS.labels(_stage)
START_SECONDS = Histogram(
    "kaito_cold_start_seconds",
    "How long a Workspace's start took, from what was asked for first until the last pod was ready",
    buckets=_SECONDS,
    registry=REGISTRY,
)


def count_start(before: ColdStart | None, after: ColdStart | None, now: datetime) -> None:
    """Called once a status with `after` has been written in place of one with `before`."""
    if after is None:
        return
    known = before.stages if before is not None and before.ready_at == after.ready_at else None
    if known is None and now - datetime.fromisoformat(after.ready_at) > NEWS:
        return
    for stage, seconds in after.stages.items():
        if known is None or stage not in known:
            STAGE_SECONDS.labels(stage).observe(float(seconds))
    if known is None:
        START_SECONDS.observe(float(after.seconds))


class ColdStartCollector(Collector):
    """The newest start of each Workspace, read off its status."""

    def __init__(self, workspaces: Store[Workspace]) -> None:
        self._workspaces = workspaces

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "kaito_workspace_cold_start_stage_seconds",
            "How long each stage of the Workspace's newest start took",
            labels=["workspace", "namespace", "stage"],
        )
        for workspace in self._workspaces.list():
            start, meta = workspace.status.cold_start, workspace.metadata
            for stage, seconds in (start.stages if start else {}).items():
                family.add_metric([meta.name, meta.namespace, stage], float(seconds))
        yield family
