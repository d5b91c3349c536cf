"""A node's last words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cloudproviders.gcp import signals
from kube.objects import NODES, Node
from tests.fakes import objects

NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
SPOT = {"cloud.google.com/gke-spot": "true"}
DOWN = {
    "type": "Ready",
    "status": "False",
    "reason": "KubeletNotReady",
    "message": "node is shutting down",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
TAINT = {
    "key": "cloud.google.com/impending-node-termination",
    "effect": "NoSchedule",
    "timeAdded": "2026-01-01T00:00:00Z",
}
PREEMPTING = {
    "type": "GCESpotPreempting",
    "status": "True",
    "message": "instance is being preempted",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def node(
    *, labels: dict[str, str] | None = None, conditions: list[Any] | None = None, taints: Any = ()
) -> Node:
    manifest = objects.node_manifest("gce://p/z/n", taints=list(taints), labels=labels or {})
    if conditions is not None:
        manifest["status"]["conditions"] = conditions
    return NODES.decode(msgspec.json.encode(manifest))


@pytest.mark.parametrize(
    ("seen", "kind", "notice"),
    [
        pytest.param(node(labels=SPOT, conditions=[DOWN]), "spot_interrupted", 30, id="preempted"),
        pytest.param(node(conditions=[DOWN]), "instance_stopped", 30, id="stopped"),
        pytest.param(node(conditions=[PREEMPTING]), "spot_interrupted", 30, id="watched"),
        pytest.param(node(labels=SPOT, taints=[TAINT]), "spot_interrupted", 30, id="spot taint"),
        pytest.param(node(taints=[TAINT]), "scheduled_change", 3600, id="maintenance taint"),
    ],
)
def test_notices(seen: Node, kind: str, notice: float) -> None:
    found = signals.interruption(seen, NOW)

    assert found is not None
    assert (found.kind, found.provider_id) == (kind, "gce://p/z/n")
    assert found.deadline == SINCE + timedelta(seconds=notice)
    assert found.message
    assert not found.advisory


def test_maintenance_that_goes_on_is_a_scheduled_change() -> None:
    seen = node(labels={"cloud.google.com/active-node-maintenance": "ONGOING"})

    found = signals.interruption(seen, NOW)

    assert found is not None
    assert found.kind == "scheduled_change"
    assert found.deadline == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(node(), id="healthy"),
        pytest.param(
            node(conditions=[{**DOWN, "message": "container runtime is down"}]), id="another cause"
        ),
        pytest.param(
            node(conditions=[{**DOWN, "reason": "KubeletReady", "status": "True"}]), id="ready"
        ),
        pytest.param(node(conditions=[{**PREEMPTING, "status": "Unknown"}]), id="nobody knows"),
        pytest.param(
            node(labels={"cloud.google.com/active-node-maintenance": "NONE"}), id="no maintenance"
        ),
        pytest.param(
            node(taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]), id="gpu taint"
        ),
    ],
)
def test_no_notice(seen: Node) -> None:
    assert signals.interruption(seen, NOW) is None


def test_repair_is_karpenters() -> None:
    found = {
        (each.condition_type, each.condition_status): each.toleration.total_seconds() / 60
        for each in signals.REPAIR_POLICIES
    }

    assert found["Ready", "False"] == found["Ready", "Unknown"] == 10
    assert found["KernelDeadlock", "True"] == found["ReadonlyFilesystem", "True"] == 5
    assert found["FrequentKubeletRestart", "True"] == 30
