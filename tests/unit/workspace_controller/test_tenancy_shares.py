"""Who has what of a namespace's GPU quota, whose turn it is, and what wakes those that wait."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import msgspec
import pytest

from apis.kaito.v1beta1.status import Progress
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kube.admission import AdmissionRequest
from kube.errors import NotFoundError
from kube.meta import Condition, Manifest, ObjectMeta
from kube.objects import NETWORK_POLICIES, Namespace, Unstructured
from kube.store import Store
from tests import builders, ragengines
from tests.builders import a_claim, a_workspace, a_world
from tests.fakes.clock import FakeClock
from tests.fakes.events import Events
from tests.fakes.memorykube import MemoryKube
from tests.tuning_worlds import a_tuning, with_status
from workspace_controller.plan import Plan
from workspace_controller.quota import Shown, Tenant, TenantStores
from workspace_controller.quotaadmission import QuotaAdmission
from workspace_controller.quotagate import QuotaGate
from workspace_controller.ragengine.reconciler import RAGEngineReconciler
from workspace_controller.tenancy import LOOK_AGAIN_SECONDS
from workspace_controller.tenancywaits import changes_share
from workspace_controller.workspace.plan import make_plan
from workspace_controller.workspace.reconciler import WorkspaceReconciler
from workspace_controller.writer import Writer

SETTINGS = builders.settings()
BYO = builders.settings(byo=True)


def told(reason: str, status: str = "False", message: str = "") -> Condition:
    given: Any = status
    return Condition(type="ResourceReady", status=given, reason=reason, message=message)


def born(owner: Workspace, hour: int) -> Workspace:
    at = builders.NOW.replace(hour=hour)
    meta = owner.metadata
    changed = msgspec.structs.replace(meta, creation_timestamp=at, uid=f"uid-{meta.name}")
    return owner.model_copy(update={"metadata": changed})


def stores_of(*workspaces: Workspace, gpus: int = 1, **more: Any) -> TenantStores:
    there: Store[Workspace] = Store()
    for each in workspaces:
        there.put(each)
    namespaces: Store[Namespace] = Store()
    namespaces.put(Namespace(metadata=ObjectMeta(name="default")))
    given = {"facts": SETTINGS.facts, "workspaces": there, "namespaces": namespaces, **more}
    return TenantStores(**{"default": gpus, **given})


@pytest.mark.parametrize(
    ("of_elder", "served"),
    [
        pytest.param(told("ResourceQuotaExceeded"), True, id="its pods would be refused"),
        pytest.param(told("GPUQuotaExceeded"), False, id="it is its turn"),
    ],
)
def test_an_elder_whose_pods_a_quota_refuses_holds_up_nobody(
    of_elder: Condition, served: bool
) -> None:
    elder = with_status(born(a_workspace(name="elder"), 8), conditions=(of_elder,))
    young = born(a_workspace(name="young"), 9)
    seen = a_world(tenant=Tenant(stores_of(elder, young), young))
    plan = make_plan(young, seen, SETTINGS)
    assert any(each["kind"] == "NodeClaim" for each in plan.create) is served
    if not served:
        assert plan.waits_for == "GPUQuotaExceeded"
        assert plan.look_again == LOOK_AGAIN_SECONDS


def test_an_engine_that_is_blocked_wakes_who_waits_behind_it() -> None:
    def engine(*summed: Manifest) -> Any:
        ready = {"type": "ResourceReady", "status": "False", "reason": "a", "message": "b"}
        return ragengines.an_engine(conditions=(ready, *summed))

    failed = {"type": "RAGEngineSucceeded", "status": "False", "reason": "ragengineFailed"}
    refused = {"type": "ResourceReady", "status": "False", "reason": "a"}
    refused["message"] = "ResourceQuotaExceeded: too many pods"
    assert changes_share(engine(), engine(failed))
    assert changes_share(engine(), ragengines.an_engine(conditions=(refused,)))
    assert not changes_share(engine(), engine())


def test_a_workspace_that_only_its_user_can_help_wakes_who_waits_behind_it() -> None:
    before = with_status(a_workspace(), progress=Progress(stage="WaitingForQuota"))
    after = with_status(a_workspace(), progress=Progress(stage="Validating"))
    assert changes_share(before, after)


@pytest.mark.parametrize("state", ["Succeeded", "Failed"])
def test_a_tuning_that_is_over_uses_none_of_the_users_nodes(state: str) -> None:
    kind = "Complete" if state == "Succeeded" else "Failed"
    pod = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    job = Unstructured(
        metadata=ObjectMeta(name="falcon", namespace="default"),
        spec={"template": {"spec": pod}},
        status={"active": 1},
    )
    jobs: Store[Unstructured] = Store()
    jobs.put(job)
    nodes: Store[Any] = Store()
    nodes.put(builders.a_gpu_node())
    running = with_status(a_tuning(instance_type=""), state="Running")
    given: dict[str, Any] = {"nodes": nodes, "workloads": {"Workspace": (jobs,)}}
    stores = stores_of(running, facts=BYO.facts, **given)

    def used() -> list[int]:
        account = stores.account("default")
        assert account is not None
        return [each.counts for each in account.shares]

    assert used() == [1]
    ended = with_status(running, state=state)
    jobs.put(
        Unstructured(
            metadata=job.metadata,
            spec=job.spec,
            status={"conditions": [{"type": kind, "status": "True"}]},
        )
    )
    stores.workspaces.put(ended)
    assert used() == [0]
    assert changes_share(running, ended)


def request(operation: str, new: Manifest, old: Manifest | None = None) -> AdmissionRequest:
    return AdmissionRequest(
        uid="u", operation=operation, namespace="default", object=new, old_object=old or {}
    )


async def test_of_a_type_that_nobody_knows_only_what_asks_for_more_is_refused() -> None:
    """An annotation is the controller's own, too, and its every round would fail."""
    judge = QuotaAdmission(cast("Any", MemoryKube(FakeClock())), stores_of())
    unknown = builders.a_workspace_manifest(instance_type="nobody-knows")
    annotated = builders.a_workspace_manifest(
        instance_type="nobody-knows", annotations={"kaito.sh/node-claim-attempts": "{}"}
    )
    more = {**unknown, "resource": {**unknown["resource"], "count": 2}}

    async def refused(asked: AdmissionRequest) -> bool:
        return await judge.refusal(asked, lambda _: None) is not None

    assert await refused(request("CREATE", unknown))
    assert not await refused(request("UPDATE", annotated, unknown))
    assert await refused(request("UPDATE", more, unknown))


async def test_a_claim_that_is_not_understood_is_counted_like_any_other() -> None:
    kube = MemoryKube(FakeClock())
    manifest = a_claim("strange").manifest()
    manifest["metadata"] |= {"labels": builders.OWNED}
    type_ = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["local-gpu-2"]}
    manifest["spec"]["requirements"] = [type_]
    manifest["spec"]["taints"] = {"not": "a list"}
    kube.add(manifest)
    young = born(a_workspace(name="young"), 9)
    tenant = Tenant(stores_of(young, gpus=2), young)
    asking = make_plan(young, a_world(tenant=tenant), SETTINGS)
    async with QuotaGate(cast("Any", kube)).confirmed(tenant, asking) as shown:
        assert shown is not None
        again = make_plan(young, a_world(tenant=tenant.with_shown(shown)), SETTINGS)
    assert again.waits_for == "GPUQuotaExceeded"
    assert "Workspace falcon 2" in again.conditions[-1].message
    assert make_plan(young, a_world(tenant=tenant.with_shown(Shown())), SETTINGS).create, (
        "without it there is room"
    )


async def test_who_is_deleted_waits_for_nothing_more() -> None:
    gate, nothing = QuotaGate(cast("Any", None)), cast("Any", None)
    engine = ragengines.an_engine()
    going = engine.metadata.__class__(
        name="docs", namespace="default", deletion_timestamp=builders.NOW
    )
    workspace = a_workspace(deleting=True)
    for owner in (workspace, engine):
        gate.note(owner, Plan(waits_for="GPUQuotaExceeded", conditions=(told("a"),)))
    for kind in ("Workspace", "RAGEngine"):
        assert gate.waiting.of_kind(kind).beside(workspace)
        assert gate.waiting.of_kind(kind).of_rule(workspace)
    clock = FakeClock()
    await WorkspaceReconciler(nothing, nothing, SETTINGS, nothing, clock, gate).reconcile(workspace)
    await RAGEngineReconciler(nothing, nothing, SETTINGS, nothing, clock, gate).reconcile(
        engine.model_copy(update={"metadata": going})
    )
    for kind in ("Workspace", "RAGEngine"):
        assert not gate.waiting.of_kind(kind).beside(workspace)
        assert not gate.waiting.of_kind(kind).of_rule(workspace)


async def test_what_is_gone_is_not_remembered() -> None:
    kube, events = MemoryKube(FakeClock()), cast("Any", Events())
    kube.store(WORKSPACES)
    writer = Writer(cast("Any", kube), WORKSPACES, "a", events)
    workspace = a_workspace()
    writer._latest.wrote(a_workspace())
    kube.refuse_next("patch", NotFoundError(404, "NotFound", "falcon"))
    await writer.release(workspace)
    assert writer._latest._written == {}


async def test_a_policy_that_no_watch_shows_is_looked_for() -> None:
    kube, nothing = MemoryKube(FakeClock()), cast("Any", None)
    kube.store(NETWORK_POLICIES)
    meta = {"name": "falcon-endpoint", "namespace": "default"}
    kube.add({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta})
    isolating = dataclasses.replace(SETTINGS, endpoint_peers=())
    clock = FakeClock()
    of_workspaces = WorkspaceReconciler(cast("Any", kube), nothing, isolating, nothing, clock)
    found = await of_workspaces._with_policy(a_workspace(), a_world())
    assert found.policy is not None
    assert (await of_workspaces._with_policy(a_tuning(), a_world())).policy is None
    of_engines = RAGEngineReconciler(cast("Any", kube), nothing, isolating, nothing, clock)
    engine = ragengines.an_engine(name="falcon")
    seen = await of_engines._with_policy(engine, ragengines.a_world())
    assert seen.network_policy is not None
