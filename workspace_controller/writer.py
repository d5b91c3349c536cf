"""What a reconciler writes: of its plan, and on the object itself.

Metadata and status are locked by resourceVersion: lists are replaced whole, and a decision that
rests on an outdated object must fail rather than forget an attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from apis.model import ApiModel, ApiObject
from kube import origin, tracing
from kube.apply import merge_patch
from kube.client import Client
from kube.errors import (
    AlreadyExistsError,
    ConflictError,
    FieldConflictError,
    KubeError,
    NotFoundError,
)
from kube.meta import Manifest, ObjectMeta, Resource
from kube.objects import JOBS, Unstructured
from workspace_controller.latest import LatestWrites
from workspace_controller.plan import Event, Plan
from workspace_controller.workspace.children import editable

logger = logging.getLogger(__name__)

O = TypeVar("O", bound=ApiObject)  # noqa: E741 - a type variable

_TOLD = frozenset({"NodeClaim", "NodePool"})
"""Kinds whose creation is an event: they cost money. Whoever provides the nodes learns from them
which round asked, in which trace."""


class Recorder(Protocol):
    """Where events go; `kube.events.Recorder` is one."""

    def event(
        self, resource: Resource[Any], metadata: ObjectMeta, type_: str, reason: str, message: str
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Known:
    """What a round knows of the owner's children: by kind and name those that users edit, and
    whether there was a pool, whose next apply is no creation."""

    child: Callable[[str, str], Unstructured | None]
    has_pool: bool = False


class Writer(Generic[O]):
    """Of the objects of one kind."""

    def __init__(
        self, client: Client, resource: Resource[O], finalizer: str, recorder: Recorder
    ) -> None:
        self._client = client
        self._resource = resource
        self._finalizer = finalizer
        self._recorder = recorder
        self._latest: LatestWrites[O] = LatestWrites()

    def newest(self, cached: O) -> O:
        """Whichever is newer: what the cache has, or what we wrote."""
        return self._latest.of(cached)

    async def save(self, owner: O, plan: Plan) -> O:
        """Finalizer and annotations in one patch, and none where both are there already."""
        finalizers = owner.metadata.finalizers
        changes: Manifest = {}
        if self._finalizer not in finalizers:
            changes["finalizers"] = [*finalizers, self._finalizer]
        if plan.annotations:
            changes["annotations"] = dict(plan.annotations)
        return await self._patch_metadata(owner, changes) if changes else owner

    async def carry_out(self, plan: Plan, owner: O, known: Known) -> KubeError | None:
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
                await self._create(manifest, owner)
            for manifest in plan.apply:
                await self._apply(manifest, owner, known)
            for change in plan.change:
                with suppress(NotFoundError):  # what is gone needs no change, and its end wakes us
                    await self._client.patch(
                        change.resource, change.name, change.patch, namespace=change.namespace
                    )
            for manifest in plan.create_last:
                await self._create(manifest, owner)
        except ConflictError:
            raise
        except KubeError as refused:
            return refused
        return None

    async def report(self, owner: O, before: ApiModel, after: ApiModel) -> None:
        """Writes the status, where it is another."""
        changes = merge_patch(before.to_json(), after.to_json())
        if not changes:
            return
        meta = owner.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version}, "status": changes}
        written = await self._client.patch(
            self._resource, meta.name, patch, namespace=meta.namespace, subresource="status"
        )
        self._latest.wrote(written)

    async def release(self, owner: O) -> None:
        """Takes our finalizer off: the API server may forget the object. It may have done so in a
        round before, which the cache does not show yet."""
        finalizers = [each for each in owner.metadata.finalizers if each != self._finalizer]
        with suppress(NotFoundError):
            await self._patch_metadata(owner, {"finalizers": finalizers})
        self._latest.forget(owner)

    def tell(self, owner: O, event: Event) -> None:
        self._recorder.event(
            self._resource, owner.metadata, event.type, event.reason, event.message
        )

    async def _create(self, manifest: Manifest, owner: O) -> None:
        made = self._client.create(_from_here(manifest, owner))
        try:
            await self._telling(owner, manifest, made)
        except AlreadyExistsError:
            # Made in a round that the cache does not show yet: the name is its identity. But users
            # have Jobs, too, and the cache none without our label.
            if manifest["kind"] == JOBS.kind and not await self._has_job(owner):
                raise

    async def _apply(self, manifest: Manifest, owner: O, known: Known) -> None:
        """What users edit without force: who has set a field otherwise since we looked is not to
        lose it. That is a conflict like any other, unless we had looked at the newest state: then
        we and the API server disagree on whose a field is, and no repetition will end that."""
        resource = editable(manifest)
        applied = self._client.apply(_from_here(manifest, owner), force=resource is None)
        try:
            if known.has_pool:
                await applied
            else:
                await self._telling(owner, manifest, applied)
        except FieldConflictError as error:
            found = known.child(manifest["kind"], manifest["metadata"]["name"])
            if resource and found and await self._is_newest(resource, found.metadata):
                raise KubeError(error.status, error.reason, error.message, error.details) from error
            raise

    async def _telling(self, owner: O, manifest: Manifest, made: Awaitable[Manifest]) -> None:
        """Awaits it, and tells of what costs money that it is there, or why not."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        try:
            await made
        except (AlreadyExistsError, ConflictError):
            raise
        except KubeError as error:
            if kind in _TOLD:
                words = f"{kind} {name}: {error.message}"
                self.tell(owner, Event("Warning", f"{kind}CreationFailed", words))
            raise
        if kind in _TOLD:
            logger.info("created %s %s", kind, name)
            self.tell(owner, Event("Normal", f"{kind}Created", f"{kind} {name} created"))

    async def _has_job(self, owner: O) -> bool:
        """Whether the Job of its name is its own."""
        meta = owner.metadata
        found = await self._client.get(JOBS, meta.name, meta.namespace)
        return found is None or any(
            each.uid == meta.uid for each in found.metadata.owner_references
        )

    async def _is_newest(self, resource: Resource[Any], known: ObjectMeta) -> bool:
        now = await self._client.get(resource, known.name, known.namespace)
        return now is not None and now.metadata.resource_version == known.resource_version

    async def _patch_metadata(self, owner: O, changes: Manifest) -> O:
        meta = owner.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version, **changes}}
        written = await self._client.patch(
            self._resource, meta.name, patch, namespace=meta.namespace
        )
        self._latest.wrote(written)
        return written


def _from_here(manifest: Manifest, owner: ApiObject) -> Manifest:
    """With the round and the trace that it comes from, where nodes are asked for. Only what is
    written carries them: plans, hashes and comparisons are made without."""
    if manifest["kind"] not in _TOLD:
        return manifest
    return origin.stamped(manifest, tracing.trace_parent(owner.metadata))
