"""Look once, decide once, act once, report once."""

from __future__ import annotations

from typing import Protocol

from apis.kaito.v1beta1.labels import (
    WORKSPACE_FINALIZER,
    WORKSPACE_LABEL,
    WORKSPACE_NAMESPACE_LABEL,
)
from apis.kaito.v1beta1.workspace import WORKSPACES, Workspace, WorkspaceStatus
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS, NodeClaim
from kube.apply import merge_patch
from kube.client import Client
from kube.clock import Clock
from kube.controller import Result
from kube.errors import AlreadyExistsError, ConflictError, KubeError
from kube.meta import Manifest, ObjectMeta, Resource
from workspace_controller.plan import Event, Plan
from workspace_controller.settings import Settings
from workspace_controller.workspace import status
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
        refused = await self._carry_out(plan, workspace)
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

    async def _carry_out(self, plan: Plan, workspace: Workspace) -> KubeError | None:
        """Deletes, creates, applies, then changes; the first refusal ends the round and goes to
        status."""
        try:
            for gone in plan.delete:
                await self._client.delete(
                    gone.resource, gone.name, namespace=gone.namespace, uid=gone.uid
                )
            for manifest in plan.create:
                await self._create(manifest, workspace)
            for manifest in plan.apply:
                await self._client.apply(manifest)
            for change in plan.change:
                await self._client.patch(
                    change.resource, change.name, change.patch, namespace=change.namespace
                )
        except ConflictError:
            raise
        except KubeError as refused:
            return refused
        return None

    async def _create(self, manifest: Manifest, workspace: Workspace) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        try:
            await self._client.create(manifest)
        except AlreadyExistsError:
            return  # made in a round that the cache does not show yet: the name is its identity
        except KubeError as error:
            if kind in _TOLD:
                failed = Event(
                    "Warning", f"{kind}CreationFailed", f"{kind} {name}: {error.message}"
                )
                self._tell(workspace, failed)
            raise
        if kind in _TOLD:
            self._tell(workspace, Event("Normal", f"{kind}Created", f"{kind} {name} created"))

    async def _report(
        self, workspace: Workspace, plan: Plan, seen: Observed, refused: KubeError | None
    ) -> None:
        error = "" if refused is None else str(refused)
        now = self._clock.now()
        after = status.workspace_status(workspace, plan, seen, error=error, now=now)
        self._tell_blocked(workspace, plan)
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
        """The nodes first, then the finalizer; what we own beside them the API server collects.

        The list is live, not cached: a claim that was made a moment ago must not be forgotten,
        for nobody would ever delete it.
        """
        if WORKSPACE_FINALIZER not in workspace.metadata.finalizers:
            return Result()
        claims = await self._claims(workspace)
        for claim in claims:
            if not claim.deleting:
                await self._client.delete(NODE_CLAIMS, claim.metadata.name, uid=claim.metadata.uid)
        names = sorted(claim.metadata.name for claim in claims)
        message = f"waiting for NodeClaims to end: {', '.join(names)}" if names else "deleted"
        after = status.deleting_status(workspace, message, self._clock.now())
        if names:
            await self._patch_status(workspace, after)
            return Result()  # the watch of claims brings us back
        finalizers = [each for each in workspace.metadata.finalizers if each != WORKSPACE_FINALIZER]
        gone = await self._patch_metadata(workspace, {"finalizers": finalizers})
        self._latest.forget(gone)
        return Result()

    async def _claims(self, workspace: Workspace) -> list[NodeClaim]:
        """As the API server has them now; none where all nodes are brought along, for there the
        cluster need not know the kind, nor we be allowed to ask."""
        if self._settings.facts.byo:
            return []
        meta = workspace.metadata
        of_workspace = f"{WORKSPACE_LABEL}={meta.name},{WORKSPACE_NAMESPACE_LABEL}={meta.namespace}"
        return (await self._client.list(NODE_CLAIMS, labels=of_workspace)).items

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
