"""What the controller tells Prometheus about Workspaces, counted when it asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.workspace import Workspace
from kube.store import Store

PHASES = ("succeeded", "error", "pending", "deleting")


class WorkspaceCollector(Collector):
    """kaito_workspace_count and kaito_workspace_preset_count, as upstream names them."""

    def __init__(self, workspaces: Store[Workspace]) -> None:
        self._workspaces = workspaces

    def collect(self) -> Iterator[GaugeMetricFamily]:
        workspaces = self._workspaces.list()
        yield _gauge(
            "kaito_workspace_count",
            "Workspaces by phase",
            "phase",
            {phase: 0 for phase in PHASES} | Counter(phase(each) for each in workspaces),
        )
        yield _gauge(
            "kaito_workspace_preset_count",
            "Workspaces by the preset that they serve",
            "preset_name",
            Counter(_presets(workspaces)),
        )


def phase(workspace: Workspace) -> str:
    """Upstream counts all that are not ready as errors; here only what the user must mend is
    one, and the rest is pending."""
    if workspace.deleting:
        return "deleting"
    succeeded = workspace.condition(c.WORKSPACE_SUCCEEDED)
    if succeeded.status == "True":
        return "succeeded"
    failed = succeeded.status == "False" and succeeded.reason != c.REASON_PENDING
    return "error" if failed else "pending"


def _presets(workspaces: Iterable[Workspace]) -> Iterator[str]:
    for workspace in workspaces:
        if workspace.inference is not None and workspace.inference.preset is not None:
            yield workspace.inference.preset.name


def _gauge(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family
