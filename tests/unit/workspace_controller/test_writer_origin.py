"""Where nodes are asked for, what is written says by which round; what is planned does not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, cast

import pytest

from apis.kaito.v1beta1.labels import (
    RECONCILE_ID_ANNOTATION,
    TRACE_PARENT_ANNOTATION,
    WORKSPACE_FINALIZER,
)
from apis.kaito.v1beta1.workspace import WORKSPACES
from kube import log, origin
from kube.apply import needs_apply, with_applied_hash
from kube.client import Client
from kube.meta import Manifest
from kube.origin import Annotations
from tests.builders import a_workspace
from tests.fakes.events import Events
from workspace_controller.plan import Plan
from workspace_controller.writer import Known, Writer

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CLAIM: Manifest = {
    "kind": "NodeClaim",
    "metadata": {"name": "ws1", "annotations": {"kaito.sh/node-ordinal": "0"}},
}
POOL: Manifest = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodePool",
    "metadata": {"name": "falcon"},
    "spec": {"template": {"metadata": {"labels": {"a": "b"}}}, "replicas": 1},
}
SERVICE: Manifest = {"kind": "Service", "metadata": {"name": "falcon"}}
JOB: Manifest = {"kind": "Job", "metadata": {"name": "falcon"}}


class Wire:
    """What went over it."""

    def __init__(self) -> None:
        self.sent: list[Manifest] = []

    async def create(self, manifest: Manifest) -> Manifest:
        self.sent.append(manifest)
        return manifest

    async def apply(self, manifest: Manifest, *, force: bool = True) -> Manifest:
        return await self.create(manifest)


@pytest.fixture(autouse=True)
def _named() -> Iterator[None]:
    token = origin._names.set(Annotations(RECONCILE_ID_ANNOTATION, TRACE_PARENT_ANNOTATION))
    yield
    origin._names.reset(token)


async def written(plan: Plan, **annotations: str) -> list[Manifest]:
    wire = Wire()
    events: Any = Events()
    writer = Writer(cast("Client", wire), WORKSPACES, WORKSPACE_FINALIZER, events)
    with log.context(reconcileID="r1"):
        await writer.carry_out(
            plan, a_workspace(annotations=annotations), Known(lambda kind, name: None)
        )
    return wire.sent


async def test_a_claim_carries_the_round_and_the_users_trace() -> None:
    plan = Plan(create=(CLAIM,))
    planned = copy.deepcopy(CLAIM)
    (sent,) = await written(plan, **{TRACE_PARENT_ANNOTATION: GIVEN})
    assert sent["metadata"]["annotations"] == {
        "kaito.sh/node-ordinal": "0",
        RECONCILE_ID_ANNOTATION: "r1",
        TRACE_PARENT_ANNOTATION: GIVEN,
    }
    assert plan.create[0] == planned


async def test_without_a_trace_there_is_only_the_round() -> None:
    (sent,) = await written(Plan(create=(CLAIM,)), **{TRACE_PARENT_ANNOTATION: "no trace context"})
    assert TRACE_PARENT_ANNOTATION not in sent["metadata"]["annotations"]


async def test_a_pools_template_stays_and_nothing_is_applied_anew() -> None:
    """A changed template would replace all its nodes; a changed hash would be applied for ever."""
    desired = with_applied_hash(POOL)
    (sent,) = await written(Plan(apply=(desired,)))
    assert sent["metadata"]["annotations"][RECONCILE_ID_ANNOTATION] == "r1"
    assert sent["spec"] == POOL["spec"]
    assert not needs_apply(POOL, sent)


async def test_what_asks_for_no_nodes_is_written_as_it_is() -> None:
    """A pod's template with a round in it would roll out with each round."""
    assert await written(Plan(create=(JOB,), apply=(SERVICE,))) == [JOB, SERVICE]
