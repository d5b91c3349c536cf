"""What the controller tells Prometheus about Workspaces and RAGEngines, counted when it asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.labels import WORKSPACE_LABEL
from apis.kaito.v1beta1.ragengine import RAGEngine
from apis.kaito.v1beta1.workspace import Workspace
from kube import metrics as kube_metrics
from kube import quantity
from kube.objects import PersistentVolumeClaim
from kube.store import Store
from workspace_controller.ragengine import conditions as ragengine

kube_metrics.build_info("kaito_build_info")

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


class RAGEngineCollector(Collector):
    """kaito_ragengine_count, as of Workspaces."""

    def __init__(self, engines: Store[RAGEngine]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[GaugeMetricFamily]:
        counted = Counter(engine_phase(each) for each in self._engines.list())
        yield _gauge(
            "kaito_ragengine_count",
            "RAGEngines by phase",
            "phase",
            {phase: 0 for phase in PHASES} | counted,
        )


class VolumeClaimCollector(Collector):
    """kaito_workspace_pvc_*: the volumes that Workspaces keep weights on."""

    def __init__(self, claims: Store[PersistentVolumeClaim]) -> None:
        self._claims = claims

    def collect(self) -> Iterator[GaugeMetricFamily]:
        whose = ["workspace_name", "workspace_namespace"]
        size = GaugeMetricFamily(
            "kaito_workspace_pvc_allocated_bytes",
            "What a volume claim of a Workspace has, else what it asks for",
            labels=[*whose, "pvc_name"],
        )
        count: Counter[tuple[str, str]] = Counter()
        for claim in self._claims.list():
            meta = claim.metadata
            if not (name := meta.labels.get(WORKSPACE_LABEL, "")):
                continue
            count[name, meta.namespace] += 1
            size.add_metric([name, meta.namespace, meta.name], _bytes(claim))
        yield size
        family = GaugeMetricFamily(
            "kaito_workspace_pvc_count", "Volume claims of a Workspace", labels=whose
        )
        for (name, namespace), found in sorted(count.items()):
            family.add_metric([name, namespace], found)
        yield family


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


def engine_phase(engine: RAGEngine) -> str:
    """By the same rule."""
    if engine.deleting:
        return "deleting"
    succeeded = engine.condition(ragengine.RAGENGINE_SUCCEEDED)
    if succeeded.status == "True":
        return "succeeded"
    failed = succeeded.status == "False" and succeeded.reason != ragengine.REASON_PENDING
    return "error" if failed else "pending"


def _bytes(claim: PersistentVolumeClaim) -> float:
    asked = (claim.spec.resources.get("requests") or {}).get("storage", "0")
    return float(quantity.parse(claim.status.capacity.get("storage", asked)))


def _presets(workspaces: Iterable[Workspace]) -> Iterator[str]:
    for workspace in workspaces:
        if workspace.inference is not None and workspace.inference.preset is not None:
            yield workspace.inference.preset.name


def _gauge(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family
