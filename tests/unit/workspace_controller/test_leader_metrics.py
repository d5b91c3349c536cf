"""What the leader tells of objects, by which alerts know who waits for nodes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import cloudproviders
from kube import config
from kube.client import Client
from kube.leadermetrics import WhileLeading
from kube.meta import Condition
from tests import builders, ragengines
from tests.fakes.clock import FakeClock
from workspace_controller.controllers import controllers
from workspace_controller.informers import Informers
from workspace_controller.raginformers import RagInformers
from workspace_controller.settings import process
from workspace_controller.wiring import settings_of

AGE = "operator_status_condition_current_status_seconds"


@pytest.mark.parametrize("kind", ["Workspace", "RAGEngine"])
async def test_how_long_nodes_are_waited_for(kind: str):
    """Workspaces and RAGEngines alike; of neither does a provisioner know."""
    clock = FakeClock()
    client = Client(config.Endpoint("http://127.0.0.1:1"), field_manager="nobody")
    informers = Informers.of(client, clock, byo=False)
    rag = RagInformers.of(client, clock, informers, "default")
    since = clock.now() - timedelta(minutes=31)
    waits = Condition(
        type="NodeClaimReady", status="False", reason="late", last_transition_time=since
    )
    waiting: Any = builders.a_workspace() if kind == "Workspace" else ragengines.an_engine()
    status = waiting.status.model_copy(update={"conditions": (waits,)})
    waiting = waiting.model_copy(update={"status": status})
    (informers.workspaces if kind == "Workspace" else rag.engines).store.put(waiting)

    told = process({"CLOUD_PROVIDER": "local"})
    settings = settings_of(
        told, cloudproviders.profile(told.cloud), cloudproviders.instance_types(told.cloud)
    )
    nobody: Any = None
    running = controllers(client, informers, settings, nobody, clock, rag)
    (leader,) = (each for each in running if isinstance(each, WhileLeading))
    (sample,) = (
        sample
        for family in leader.collect()
        for sample in family.samples
        if sample.name == AGE and sample.labels["type"] == "NodeClaimReady"
    )
    assert sample.labels["kind"] == kind
    assert sample.value == 31 * 60
    await client.close()
