"""The part of an API server's behaviour that reconcilers rely on, in memory, without HTTP.

resourceVersion conflicts, finalizers, generations, the status subresource, immutable claim specs,
graceful pods and eviction. What is not here is tested against the real API server.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from apis.karpenter.v1.nodepool import NODE_POOLS
from kube.clock import Clock
from kube.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    KubeError,
    NotFoundError,
)
from kube.listing import Listing
from kube.meta import Key, Manifest, Resource
from kube.objects import PODS, all_kinds
from kube.store import Store
from tests.fakes.selectors import Selector

T = TypeVar("T")


class MemoryKube:
    """Stands in for `kube.client.Client`; `store` gives caches that are never behind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._objects: dict[str, dict[Key, Manifest]] = {}
        self._kinds = {
            (kind.api_version, kind.kind): kind for kind in [*all_kinds(), NODE_CLAIMS, NODE_POOLS]
        }
        self._stores: list[tuple[Resource[Any], Store[Any]]] = []
        self._version = 0
        self._refusals: list[tuple[str, KubeError]] = []
        self._guarded: dict[str, KubeError] = {}
        self.writes = 0
        """Requests that changed something."""

    # What tests say.

    def store(
        self,
        resource: Resource[T],
        indexes: Mapping[str, Callable[[T], Iterable[str]]] | None = None,
    ) -> Store[T]:
        self._kinds[resource.api_version, resource.kind] = resource
        found: Store[T] = Store(indexes)
        self._kinds[resource.api_version, resource.kind] = resource
        self._stores.append((resource, found))
        for manifest in self._of(resource).values():
            found.put(self._decoded(resource, manifest))
        return found

    def add(self, manifest: Manifest) -> Manifest:
        """An object as somebody else made it; status and timestamps are kept as given."""
        resource = self._kinds[manifest["apiVersion"], manifest["kind"]]
        return self._put(resource, self._born(manifest))

    def change(
        self, resource: Resource[Any], name: str, patch: Manifest, namespace: str = ""
    ) -> None:
        """Any change, by somebody else, status included."""
        live = self._live(resource, name, namespace)
        self._put(resource, _merged(live, patch))

    def vanish(self, resource: Resource[Any], name: str, namespace: str = "") -> None:
        self._remove(resource, Key(namespace, name))

    def manifest(self, resource: Resource[Any], name: str, namespace: str = "") -> Manifest | None:
        return copy.deepcopy(self._of(resource).get(Key(namespace, name)))

    def names(self, resource: Resource[Any]) -> list[str]:
        return sorted(key.name for key in self._of(resource))

    def refuse_next(self, verb: str, error: KubeError) -> None:
        """`verb` is get, create, patch, delete or evict."""
        self._refusals.append((verb, error))

    def guard(self, pod: str, error: KubeError | None) -> None:
        """A disruption budget refuses the eviction of the pod, until None is given."""
        if error is None:
            self._guarded.pop(pod, None)
        else:
            self._guarded[pod] = error

    # What the client does.

    async def get(self, resource: Resource[T], name: str, namespace: str = "") -> T | None:
        self._maybe_refuse("get")
        found = self._of(resource).get(Key(namespace, name))
        return None if found is None else self._decoded(resource, found)

    async def list(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = 500,
    ) -> Listing[T]:
        wanted = Selector(labels)
        items = [
            self._decoded(resource, manifest)
            for key, manifest in self._of(resource).items()
            if (not namespace or key.namespace == namespace) and wanted.matches(manifest)
        ]
        return Listing(items, str(self._version))

    async def create(self, manifest: Manifest) -> Manifest:
        self._maybe_refuse("create")
        resource = self._kinds[manifest["apiVersion"], manifest["kind"]]
        metadata = manifest["metadata"]
        if Key(metadata.get("namespace", ""), metadata["name"]) in self._of(resource):
            raise AlreadyExistsError(409, "AlreadyExists", metadata["name"])
        self.writes += 1
        stripped = {field: value for field, value in manifest.items() if field != "status"}
        return self._put(resource, self._born(stripped))

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        patch: Manifest,
        *,
        namespace: str = "",
        subresource: str = "",
    ) -> T:
        self._maybe_refuse("patch")
        live = self._live(resource, name, namespace)
        version = patch.get("metadata", {}).get("resourceVersion")
        if version and version != live["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", f"{name}: {version} is not the latest")
        if subresource == "status":
            new = _merged(live, {"status": patch.get("status", {})})
        else:
            new = _merged(live, {field: part for field, part in patch.items() if field != "status"})
        self._check(resource, live, new)
        if new == live:
            return self._decoded(resource, live)
        self.writes += 1
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._remove(resource, Key(namespace, name))
            return self._decoded(resource, new)
        if new.get("spec") != live.get("spec"):
            metadata["generation"] += 1
        return self._decoded(resource, self._put(resource, new))

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        grace_period_seconds: int | None = None,
        propagation: str = "",
    ) -> None:
        self._maybe_refuse("delete")
        live = self._of(resource).get(Key(namespace, name))
        if live is None or (uid and live["metadata"]["uid"] != uid):
            return
        self._end(resource, live, grace_period_seconds)

    async def post(
        self,
        resource: Resource[Any],
        name: str,
        subresource: str,
        body: Manifest,
        *,
        namespace: str = "",
    ) -> Manifest:
        self._maybe_refuse("evict")
        live = self._live(resource, name, namespace)
        if body["deleteOptions"]["preconditions"]["uid"] != live["metadata"]["uid"]:
            raise ConflictError(409, "Conflict", "uid")
        if (refusal := self._guarded.get(name)) is not None:
            raise refusal
        self._end(resource, live, None)
        return {}

    # How it is kept.

    def _of(self, resource: Resource[Any]) -> dict[Key, Manifest]:
        return self._objects.setdefault(resource.plural, {})

    def _live(self, resource: Resource[Any], name: str, namespace: str) -> Manifest:
        found = self._of(resource).get(Key(namespace, name))
        if found is None:
            raise NotFoundError(404, "NotFound", name)
        return found

    def _maybe_refuse(self, verb: str) -> None:
        for number, (refused, error) in enumerate(self._refusals):
            if refused == verb:
                del self._refusals[number]
                raise error

    def _check(self, resource: Resource[Any], live: Manifest, new: Manifest) -> None:
        if resource is NODE_CLAIMS and live.get("spec") != new.get("spec"):
            raise InvalidError(422, "Invalid", "spec is immutable")
        before = set(live["metadata"].get("finalizers") or ())
        after = set(new["metadata"].get("finalizers") or ())
        if live["metadata"].get("deletionTimestamp") and after - before:
            raise InvalidError(422, "Invalid", "no new finalizers while deleting")

    def _born(self, manifest: Manifest) -> Manifest:
        new = copy.deepcopy(manifest)
        metadata = new.setdefault("metadata", {})
        metadata.setdefault("uid", f"uid-{metadata['name']}-{self._version + 1}")
        metadata.setdefault("creationTimestamp", _timestamp(self._clock.now()))
        metadata.setdefault("generation", 1)
        return new

    def _end(self, resource: Resource[Any], live: Manifest, grace: int | None) -> None:
        metadata = live["metadata"]
        seconds = 0
        if resource is PODS:
            asked = live.get("spec", {}).get("terminationGracePeriodSeconds", 30)
            seconds = asked if grace is None else grace
        elif metadata.get("deletionTimestamp"):
            return
        ends = _timestamp(self._clock.now() + timedelta(seconds=seconds))
        if metadata.get("deletionTimestamp") and metadata["deletionTimestamp"] <= ends:
            return
        self.writes += 1
        if not metadata.get("finalizers") and not seconds:
            self._remove(resource, Key(metadata.get("namespace", ""), metadata["name"]))
            return
        ended = {"deletionTimestamp": ends, "generation": metadata["generation"] + 1}
        self._put(resource, _merged(live, {"metadata": ended}))

    def _put(self, resource: Resource[Any], manifest: Manifest) -> Manifest:
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)
        key = Key(manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])
        self._of(resource)[key] = manifest
        for watched, store in self._stores:
            if watched is resource:
                store.put(self._decoded(resource, manifest))
        return copy.deepcopy(manifest)

    def _remove(self, resource: Resource[Any], key: Key) -> None:
        self._of(resource).pop(key, None)
        for watched, store in self._stores:
            if watched is resource:
                store.remove(key)

    def _decoded(self, resource: Resource[T], manifest: Manifest) -> T:
        return resource.decode(msgspec.json.encode(manifest))


def _merged(before: Manifest, patch: Manifest) -> Manifest:
    """RFC 7386."""
    after = copy.deepcopy(before)
    for field, value in patch.items():
        if value is None:
            after.pop(field, None)
        elif isinstance(value, Mapping):
            below = after.get(field)
            after[field] = _merged(below if isinstance(below, dict) else {}, dict(value))
        else:
            after[field] = copy.deepcopy(value)
    return after


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
