"""What a round makes of an apply that the API server refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from kube.client import Client
from kube.errors import ConflictError, FieldConflictError, ForbiddenError, KubeError, NotFoundError
from kube.meta import Manifest
from kube.objects import PODS, Unstructured
from tests.builders import a_stateful_set, a_workspace, a_world, settings
from tests.fakes.clock import FakeClock
from workspace_controller.plan import Change, Plan
from workspace_controller.workspace.observe import Caches
from workspace_controller.workspace.reconciler import WorkspaceReconciler

CHILD: Manifest = {"kind": "StatefulSet", "metadata": {"name": "falcon"}}


class Disputed:
    """An API server on which somebody else holds the fields; `now` is what it has."""

    def __init__(self, now: Unstructured | None) -> None:
        self.now = now
        self.forced: list[bool] = []

    async def apply(self, manifest: Manifest, *, force: bool) -> Manifest:
        self.forced.append(force)
        if not force:
            raise FieldConflictError(409, "Conflict", "1 conflict")
        return manifest

    async def get(self, *_: Any) -> Unstructured | None:
        return self.now


def reconciler(client: Disputed) -> WorkspaceReconciler:
    nobody: Any = None
    caches = cast("Caches", None)
    return WorkspaceReconciler(cast("Client", client), caches, settings(), nobody, FakeClock())


@pytest.mark.parametrize(
    ("now", "known", "is_failure"),
    [
        pytest.param(a_stateful_set, a_stateful_set, True, id="seen at its newest"),
        pytest.param(a_stateful_set, lambda: None, False, id="not seen yet"),
        pytest.param(lambda: None, a_stateful_set, False, id="gone meanwhile"),
    ],
)
async def test_a_dispute_over_fields_is_a_failure_only_where_we_had_seen_all(
    now: Callable[[], Any], known: Callable[[], Any], is_failure: bool
) -> None:
    """A stale cache mends itself; to disagree with the API server does not, and must be told."""
    round_ = reconciler(Disputed(now()))
    seen = a_world(stateful_set=known())
    if is_failure:
        refused = await round_._carry_out(Plan(apply=(CHILD,)), cast("Any", None), seen)
        assert type(refused) is KubeError
        assert refused.status == 409
    else:
        with pytest.raises(ConflictError):
            await round_._carry_out(Plan(apply=(CHILD,)), cast("Any", None), seen)


async def test_what_no_user_edits_is_taken() -> None:
    client = Disputed(None)
    pool = {"kind": "NodePool", "metadata": {"name": "falcon"}}
    there = a_world(pool=Unstructured())
    refused = await reconciler(client)._carry_out(Plan(apply=(pool,)), a_workspace(), there)
    assert refused is None
    assert client.forced == [True]


class Counting:
    """An API server that makes what it does not refuse."""

    def __init__(self, *refuses: str) -> None:
        self.refuses = refuses
        self.made: list[str] = []

    async def create(self, manifest: Manifest) -> Manifest:
        if manifest["kind"] in self.refuses:
            raise KubeError(403, "Forbidden", "no")
        self.made.append(manifest["kind"])
        return manifest

    async def apply(self, manifest: Manifest, *, force: bool) -> Manifest:
        return await self.create(manifest)


class Told:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def event(self, _: object, __: object, ___: str, reason: str, ____: str) -> None:
        self.reasons.append(reason)


@pytest.mark.parametrize(
    ("refuses", "said"), [((), "NodePoolCreated"), (("NodePool",), "NodePoolCreationFailed")]
)
async def test_a_pool_is_said_to_be_made_once_it_is(refuses: tuple[str, ...], said: str) -> None:
    client, told = Counting(*refuses), Told()
    round_ = WorkspaceReconciler(
        cast("Client", client), cast("Caches", None), settings(), told, FakeClock()
    )
    pool = {"kind": "NodePool", "metadata": {"name": "falcon"}}
    await round_._carry_out(Plan(apply=(pool,)), a_workspace(), a_world())
    assert told.reasons == [said]


async def test_what_comes_last_holds_nothing_up() -> None:
    client = Counting("Pod")
    plan = Plan(create_last=({"kind": "Pod", "metadata": {"name": "p"}},), apply=(CHILD,))
    round_ = reconciler(cast("Disputed", client))
    refused = await round_._carry_out(plan, a_workspace(), a_world(stateful_set=a_stateful_set()))
    assert refused is not None
    assert client.made == ["StatefulSet"]


class Patched:
    """An API server that answers every patch with the same refusal."""

    def __init__(self, refusal: KubeError) -> None:
        self.refusal = refusal

    async def patch(self, *_: Any, **__: Any) -> None:
        raise self.refusal


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        pytest.param(NotFoundError(404, "NotFound", "no such pod"), False, id="gone meanwhile"),
        pytest.param(ForbiddenError(403, "Forbidden", "not for you"), True, id="refused"),
    ],
)
async def test_a_pod_that_is_gone_is_no_failure_to_tell(refusal: KubeError, told: bool) -> None:
    change = Change(PODS, "default", "falcon-0", {"metadata": {"annotations": {"a": "b"}}})
    round_ = reconciler(cast("Any", Patched(refusal)))
    refused = await round_._carry_out(Plan(change=(change,)), cast("Any", None), a_world())
    assert (refused is refusal) is told
