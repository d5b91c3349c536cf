"""Look once, decide once, act once, report once."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

from apis.kaito.v1beta1.labels import WORKSPACE_FINALIZER
from apis.kaito.v1beta1.status import WorkspaceStatus
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace
from kube.apply import merge_patch
from kube.client import Client
from kube.clock import Clock
from kube.controller import Result
from kube.errors import (
    AlreadyExistsError,
    ConflictError,
    FieldConflictError,
    KubeError,
    NotFoundError,
)
from kube.meta import Manifest, ObjectMeta, Resource
from kube.objects import JOBS
from workspace_controller.plan import Event, Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import finalize, status
from workspace_controller.workspace.children import editable
from workspace_controller.workspace.latest import LatestWrites
from workspace_controller.workspace.observe import Caches, observe
from workspace_controller.workspace.observed import Observed
from workspace_controller.workspace.plan import make_plan

_TOLD = frozenset({"NodeClaim", "NodePool"})
"""Kinds whose creation is an event: they cost money."""


class Recorder(Protocol):
    """Where events go; `kube.events.Recorder` is one."""

    def event(
        self,
        resource: Resource[Workspace],
        metadata: ObjectMeta,
        type_: str,
        reason: str,
        message: str,
    ) -> None: ...


class WorkspaceReconciler:
    """Nodes for a model, and the model on them."""

    def __init__(
        self,
        client: Client,
        caches: Caches,
        settings: Settings,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._caches = caches
        self._settings = settings
        self._recorder = recorder
        self._clock = clock
        self._latest = LatestWrites()

    async def reconcile(self, workspace: Workspace, /) -> Result:
        workspace = self._latest.of(workspace)
        if workspace.deleting:
            return await self._finalize(workspace)
        seen = self._observe(workspace)
        plan = make_plan(workspace, seen, self._settings)
        # Stored before any claim can exist, or a crash here leaks one or makes it twice.
        workspace = await self._save_metadata(workspace, plan)
        refused = await self._carry_out(plan, workspace, seen)
        await self._report(workspace, plan, seen, refused)
        if refused is not None:
            raise refused
        return Result(plan.look_again)

    def _observe(self, workspace: Workspace) -> Observed:
        byo = self._settings.facts.byo
        return observe(workspace, self._caches, self._clock.now(), byo=byo)

    async def _save_metadata(self, workspace: Workspace, plan: Plan) -> Workspace:
        """Finalizer and annotations in one patch, and none where both are there already."""
        finalizers = workspace.metadata.finalizers
        changes: Manifest = {}
        if WORKSPACE_FINALIZER not in finalizers:
            changes["finalizers"] = [*finalizers, WORKSPACE_FINALIZER]
        if plan.annotations:
            changes["annotations"] = dict(plan.annotations)
        return await self._patch_metadata(workspace, changes) if changes else workspace

    async def _carry_out(
        self, plan: Plan, workspace: Workspace, seen: Observed
    ) -> KubeError | None:
        """Deletes, creates, applies, then changes; the first refusal ends the round and goes to
        status."""
        try:
            for gone in plan.delete:
                await self._client.delete(
                    gone.resource,
                    gone.name,
                    namespace=gone.namespace,
                    uid=gone.uid,
                    propagation=gone.propagation,
                )
            for manifest in plan.create:
                await self._create(manifest, workspace)
            for manifest in plan.apply:
                await self._apply(manifest, workspace, seen)
            for change in plan.change:
                with suppress(NotFoundError):  # what is gone needs no change, and its end wakes us
                    await self._client.patch(
                        change.resource, change.name, change.patch, namespace=change.namespace
                    )
            for manifest in plan.create_last:
                await self._create(manifest, workspace)
        except ConflictError:
            raise
        except KubeError as refused:
            return refused
        return None

    async def _create(self, manifest: Manifest, workspace: Workspace) -> None:
        try:
            await self._telling(workspace, manifest, self._client.create(manifest))
        except AlreadyExistsError:
            # Made in a round that the cache does not show yet: the name is its identity. But users
            # have Jobs, too, and the cache none without our label.
            if manifest["kind"] == JOBS.kind and not await self._has_job(workspace):
                raise

    async def _apply(self, manifest: Manifest, workspace: Workspace, seen: Observed) -> None:
        """What users edit without force: who has set a field otherwise since we looked is not to
        lose it. That is a conflict like any other, unless we had looked at the newest state: then
        we and the API server disagree on whose a field is, and no repetition will end that."""
        resource = editable(manifest)
        applied = self._client.apply(manifest, force=resource is None)
        try:
            if seen.pool is None:
                await self._telling(workspace, manifest, applied)
            else:
                await applied
        except FieldConflictError as error:
            known = seen.child(manifest["kind"], manifest["metadata"]["name"])
            if resource and known and await self._is_newest(resource, known.metadata):
                raise KubeError(error.status, error.reason, error.message, error.details) from error
            raise

    async def _telling(
        self, workspace: Workspace, manifest: Manifest, made: Awaitable[Manifest]
    ) -> None:
        """Awaits it, and tells of what costs money that it is there, or why not."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        try:
            await made
        except (AlreadyExistsError, ConflictError):
            raise
        except KubeError as error:
            if kind in _TOLD:
                words = f"{kind} {name}: {error.message}"
                self._tell(workspace, Event("Warning", f"{kind}CreationFailed", words))
            raise
        if kind in _TOLD:
            self._tell(workspace, Event("Normal", f"{kind}Created", f"{kind} {name} created"))

    async def _has_job(self, workspace: Workspace) -> bool:
        """Whether the Job of its name is its own."""
        meta = workspace.metadata
        found = await self._client.get(JOBS, meta.name, meta.namespace)
        return found is None or any(
            each.uid == meta.uid for each in found.metadata.owner_references
        )

    async def _is_newest(self, resource: Resource[Any], known: ObjectMeta) -> bool:
        now = await self._client.get(resource, known.name, known.namespace)
        return now is not None and now.metadata.resource_version == known.resource_version

    async def _report(
        self, workspace: Workspace, plan: Plan, seen: Observed, refused: KubeError | None
    ) -> None:
        error = "" if refused is None else str(refused)
        now = self._clock.now()
        after = status.workspace_status(workspace, plan, seen, error=error, now=now)
        self._tell_blocked(workspace, plan)
        for event in plan.events:
            self._tell(workspace, event)
        await self._patch_status(workspace, after)

    def _tell_blocked(self, workspace: Workspace, plan: Plan) -> None:
        """Once for each new complaint: the condition remembers what was said."""
        blocked = plan.blocked
        if blocked is None:
            return
        said = workspace.condition(blocked.condition)
        if (said.reason, said.message) != (blocked.reason, blocked.message):
            self._tell(workspace, Event("Warning", blocked.reason, blocked.message))

    async def _finalize(self, workspace: Workspace) -> Result:
        """Pods and nodes first, then the finalizer; the rest the API server collects."""
        if WORKSPACE_FINALIZER not in workspace.metadata.finalizers:
            return Result()
        now = self._clock.now()
        try:
            remains = await finalize.end(self._client, self._settings.nodes, workspace, now)
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
        finalizers = [each for each in workspace.metadata.finalizers if each != WORKSPACE_FINALIZER]
        gone = await self._patch_metadata(workspace, {"finalizers": finalizers})
        self._latest.forget(gone)
        return Result()

    async def _patch_metadata(self, workspace: Workspace, changes: Manifest) -> Workspace:
        """Locked by resourceVersion: lists are replaced whole, and a decision that rests on an
        outdated Workspace must fail rather than forget an attempt."""
        meta = workspace.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version, **changes}}
        written = await self._client.patch(WORKSPACES, meta.name, patch, namespace=meta.namespace)
        self._latest.wrote(written)
        return written

    async def _patch_status(self, workspace: Workspace, after: WorkspaceStatus) -> None:
        changes = merge_patch(workspace.status.to_json(), after.to_json())
        if not changes:
            return
        meta = workspace.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version}, "status": changes}
        written = await self._client.patch(
            WORKSPACES, meta.name, patch, namespace=meta.namespace, subresource="status"
        )
        self._latest.wrote(written)

    def _tell(self, workspace: Workspace, event: Event) -> None:
        self._recorder.event(
            WORKSPACES, workspace.metadata, event.type, event.reason, event.message
        )
