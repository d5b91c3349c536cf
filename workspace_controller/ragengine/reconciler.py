"""Look once, decide once, act once, report once."""

from __future__ import annotations

import dataclasses

from apis.kaito.v1beta1.labels import RAGENGINE_FINALIZER
from apis.kaito.v1beta1.ragengine import RAG_ENGINES, RAGEngine
from kube.client import Client
from kube.clock import Clock
from kube.controller import Result
from kube.errors import ConflictError, KubeError
from kube.meta import Resource
from kube.objects import DEPLOYMENTS, NETWORK_POLICIES, SECRETS, Unstructured
from workspace_controller import finalize, tenancyisolation, waits
from workspace_controller.plan import Event, Plan
from workspace_controller.quotagate import QuotaGate
from workspace_controller.ragengine import conditions as c
from workspace_controller.ragengine import references, status
from workspace_controller.ragengine.observe import Caches, observe
from workspace_controller.ragengine.observed import Observed
from workspace_controller.ragengine.plan import make_plan
from workspace_controller.settings import Settings
from workspace_controller.workspace.children import Child
from workspace_controller.writer import Known, Recorder, Writer

_CHILDREN: tuple[Resource[Unstructured], ...] = (
    Resource("apps", "v1", "Deployment", "deployments", Child),
    Resource("", "v1", "Service", "services", Child),
)
"""With the owners of their fields."""


class RAGEngineReconciler:
    """A retrieval service, and the node for it."""

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
        self._writer = Writer(client, RAG_ENGINES, RAGENGINE_FINALIZER, recorder)

    async def reconcile(self, engine: RAGEngine, /) -> Result:
        engine = self._writer.newest(engine)
        if engine.deleting:
            return await self._finalize(engine)
        seen = await self._observe(engine)
        plan = self._decide(engine, seen)
        async with self._gate.confirmed(seen.tenant, plan) as shown:
            if shown is not None and seen.tenant is not None:
                seen = dataclasses.replace(seen, tenant=seen.tenant.with_shown(shown))
                plan = self._decide(engine, seen)
            # Stored before any claim can exist, or a crash here leaks one or makes it twice.
            engine = await self._writer.save(engine, plan)
            known = Known(seen.child, has_pool=seen.pool is not None)
            refused = await self._writer.carry_out(plan, engine, known)
        await self._report(engine, plan, refused)
        if refused is not None:
            raise refused
        return Result(plan.look_again)

    def _decide(self, engine: RAGEngine, seen: Observed) -> Plan:
        plan = make_plan(engine, seen, self._settings)
        self._gate.note(engine, plan)
        return plan

    async def _observe(self, engine: RAGEngine) -> Observed:
        byo = self._settings.facts.byo
        seen = observe(engine, self._caches, self._clock.now(), byo=byo)
        namespace = engine.metadata.namespace
        found: dict[str, frozenset[str] | None] = {}
        for name in references.to_ask_for(engine, seen):
            secret = await self._client.get(SECRETS, name, namespace)
            found[name] = None if secret is None else frozenset(secret.data)
        seen = await self._with_policy(engine, dataclasses.replace(seen, secrets=found))
        return await self._with_unlabelled(engine, seen)

    async def _with_policy(self, engine: RAGEngine, seen: Observed) -> Observed:
        """With the NetworkPolicy of its endpoint's name, also where no watch shows it."""
        name = tenancyisolation.to_ask_for(engine, seen.network_policy, self._settings)
        if not name:
            return seen
        found = await self._client.get(NETWORK_POLICIES, name, engine.metadata.namespace)
        return dataclasses.replace(seen, network_policy=found)

    async def _with_unlabelled(self, engine: RAGEngine, seen: Observed) -> Observed:
        """With what has its name and not our label, which no watch shows: KAITO's controller left
        it, or it is somebody else's."""
        meta = engine.metadata
        for kind in _CHILDREN:
            if seen.child(kind.kind, meta.name) is not None:
                continue
            found = await self._client.get(kind, meta.name, meta.namespace)
            if found is None or found.metadata.deletion_timestamp is not None:
                continue
            if any(each.uid == meta.uid for each in found.metadata.owner_references):
                seen = seen.with_child(found, kind.kind)
            else:
                seen = dataclasses.replace(seen, foreign=f'{kind.kind} "{meta.name}"')
        return seen

    async def _report(self, engine: RAGEngine, plan: Plan, refused: KubeError | None) -> None:
        error = "" if refused is None else str(refused)
        after = status.ragengine_status(engine, plan, error=error, now=self._clock.now())
        self._tell_blocked(engine, plan)
        for event in plan.events if refused is None else ():  # of what was applied
            self._writer.tell(engine, event)
        before = engine.status
        await self._writer.report(engine, before, after)
        waits.tell_ready(
            engine.metadata, c.RAGENGINE_SUCCEEDED, before.conditions, after.conditions
        )

    def _tell_blocked(self, engine: RAGEngine, plan: Plan) -> None:
        """Once for each new complaint: the condition remembers what was said."""
        blocked = plan.blocked
        if blocked and engine.condition(c.RAGENGINE_SUCCEEDED).message != blocked.message:
            self._writer.tell(engine, Event("Warning", blocked.reason, blocked.message))

    async def _finalize(self, engine: RAGEngine) -> Result:
        """Pod and node first, then the finalizer. Volume claims are the user's, and stay."""
        self._gate.forget(engine)
        if RAGENGINE_FINALIZER not in engine.metadata.finalizers:
            return Result()
        now, nodes = self._clock.now(), self._settings.nodes
        try:
            remains = await finalize.end(self._client, nodes, engine, now, (DEPLOYMENTS,))
        except ConflictError:
            raise
        except KubeError as refused:
            after = status.deleting_status(engine, f"cannot go on: {refused}", now)
            await self._writer.report(engine, engine.status, after)
            raise
        if remains.message:
            after = status.deleting_status(engine, remains.message, now)
            await self._writer.report(engine, engine.status, after)
            return Result(remains.look_again)  # or sooner, by the watches of pods and claims
        await self._writer.release(engine)
        return Result()
