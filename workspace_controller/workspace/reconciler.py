"""Look once, decide once, act once, report once."""

from __future__ import annotations

import dataclasses

from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.labels import WORKSPACE_FINALIZER
from apis.kaito.v1beta1.status import WorkspaceStatus
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kube.client import Client
from kube.clock import Clock
from kube.controller import Result
from kube.errors import ConflictError, KubeError
from kube.objects import JOBS, NETWORK_POLICIES, SECRETS, STATEFUL_SETS
from workspace_controller import finalize, startmetrics, tenancyisolation, waits
from workspace_controller.plan import Event, Plan
from workspace_controller.quotagate import QuotaGate
from workspace_controller.settings import Settings
from workspace_controller.workspace import apikeys, status
from workspace_controller.workspace.observe import Caches, observe
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.plan import make_plan
from workspace_controller.writer import Known, Recorder, Writer


class WorkspaceReconciler:
    """Nodes for a model, and the model on them."""

    def __init__(
        self,
        client: Client,
        caches: Caches,
        settings: Settings,
        recorder: Recorder,
        clock: Clock,
        gate: QuotaGate | None = None,
    ) -> None:
        self._gate = gate or QuotaGate(client)
        self._client = client
        self._caches = caches
        self._settings = settings
        self._clock = clock
        self._writer = Writer(client, WORKSPACES, WORKSPACE_FINALIZER, recorder)

    async def reconcile(self, workspace: Workspace, /) -> Result:
        workspace = self._writer.newest(workspace)
        if workspace.deleting:
            return await self._finalize(workspace)
        seen = await self._with_keys(workspace, self._observe(workspace))
        seen = await self._with_policy(workspace, seen)
        plan = self._decide(workspace, seen)
        async with self._gate.confirmed(seen.tenant, plan) as shown:
            if shown is not None and seen.tenant is not None:
                seen = dataclasses.replace(seen, tenant=seen.tenant.with_shown(shown))
                plan = self._decide(workspace, seen)
            # Stored before any claim can exist, or a crash here leaks one or makes it twice.
            workspace = await self._writer.save(workspace, plan)
            refused = await self._carry_out(plan, workspace, seen)
        await self._report(workspace, plan, seen, refused)
        if refused is not None:
            raise refused
        return Result(plan.look_again)

    def _decide(self, workspace: Workspace, seen: Observed) -> Plan:
        plan = make_plan(workspace, seen, self._settings)
        self._gate.note(workspace, plan)
        return plan

    async def _with_keys(self, workspace: Workspace, seen: Observed) -> Observed:
        """And why the Secret with its API keys opens nothing: asked for while no pod has it."""
        name = apikeys.to_ask_for(workspace, seen)
        if not name:
            return seen
        found = await self._client.get(SECRETS, name, workspace.metadata.namespace)
        why = apikeys.missing(workspace, name, found)
        return dataclasses.replace(self._observe(workspace), missing_keys=why)

    async def _with_policy(self, workspace: Workspace, seen: Observed) -> Observed:
        """With the NetworkPolicy of its endpoint's name, also where no watch shows it."""
        name = tenancyisolation.to_ask_for(workspace, seen.policy, self._settings)
        if not name or workspace.tuning is not None:
            return seen
        found = await self._client.get(NETWORK_POLICIES, name, workspace.metadata.namespace)
        return dataclasses.replace(seen, policy=found)

    def _observe(self, workspace: Workspace) -> Observed:
        byo = self._settings.facts.byo
        return observe(workspace, self._caches, self._clock.now(), byo=byo)

    async def _carry_out(
        self, plan: Plan, workspace: Workspace, seen: Observed
    ) -> KubeError | None:
        known = Known(seen.child, has_pool=seen.pool is not None)
        return await self._writer.carry_out(plan, workspace, known)

    async def _report(
        self, workspace: Workspace, plan: Plan, seen: Observed, refused: KubeError | None
    ) -> None:
        error = "" if refused is None else str(refused)
        now = self._clock.now()
        after = status.workspace_status(workspace, plan, seen, error=error, now=now)
        self._tell_blocked(workspace, plan)
        for event in plan.events:
            self._writer.tell(workspace, event)
        await self._patch_status(workspace, after)
        # Who has written it counts it: so it is counted once, whoever leads next.
        startmetrics.count_start(workspace.status.cold_start, after.cold_start, now)

    def _tell_blocked(self, workspace: Workspace, plan: Plan) -> None:
        """Once for each new complaint: the condition remembers what was said."""
        blocked = plan.blocked
        if blocked is None:
            return
        said = workspace.condition(blocked.condition)
        if (said.reason, said.message) != (blocked.reason, blocked.message):
            self._writer.tell(workspace, Event("Warning", blocked.reason, blocked.message))

    async def _finalize(self, workspace: Workspace) -> Result:
        """Pods and nodes first, then the finalizer; the rest the API server collects."""
        self._gate.forget(workspace)
        if WORKSPACE_FINALIZER not in workspace.metadata.finalizers:
            return Result()
        now = self._clock.now()
        try:
            remains = await finalize.end(
                self._client, self._settings.nodes, workspace, now, (JOBS, STATEFUL_SETS)
            )
        except ConflictError:
            raise
        except KubeError as refused:
            message = f"cannot go on: {refused}"
            await self._patch_status(workspace, status.deleting_status(workspace, message, now))
            raise
        if remains.message:
            after = status.deleting_status(workspace, remains.message, now)
            await self._patch_status(workspace, after)
            return Result(remains.look_again)  # or sooner, by the watches of pods and claims
        await self._writer.release(workspace)
        return Result()

    async def _patch_status(self, workspace: Workspace, after: WorkspaceStatus) -> None:
        before = workspace.status
        await self._writer.report(workspace, before, after)
        waits.tell_ready(
            workspace.metadata, c.WORKSPACE_SUCCEEDED, before.conditions, after.conditions
        )
