"""What an API server holds and does to it: versions, conflicts, finalizers, evictions. Pure."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

from kube.meta import Key, Manifest

Collection = tuple[str, str]
"""(group, plural)"""


class Target(NamedTuple):
    """What a URL path names."""

    collection: Collection
    namespace: str
    name: str
    subresource: str


class Change(NamedTuple):
    version: int
    collection: Collection
    old: Manifest | None
    new: Manifest | None
    """None: deleted; `old` then carries the version of the deletion."""


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, code: int, reason: str, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.code, self.reason, self.message, self.retry_after = code, reason, message, retry_after

    @property
    def status(self) -> Manifest:
        details = {} if self.retry_after is None else {"retryAfterSeconds": self.retry_after}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "details": details,
        }


class ApiObjects:
    """All objects by collection; `happened` hears of each change."""

    def __init__(self, happened: Callable[[Change], None]) -> None:
        self.version = 100
        self.blocked_evictions: set[Key] = set()
        self._happened = happened
        self._objects: dict[Collection, dict[Key, Manifest]] = {}
        self._uids = itertools.count(1)

    def post(self, target: Target, body: Manifest) -> Manifest:
        if target.subresource == "eviction":
            return self._evict(target)
        obj = copy.deepcopy(body)
        metadata = obj.setdefault("metadata", {})
        if target.namespace:
            metadata["namespace"] = target.namespace
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{next(self._uids):05x}"
        if key_of(obj) in self.all(target.collection):
            raise Refusal(409, "AlreadyExists", f"{metadata['name']} already exists")
        if has_status_subresource(target.collection):
            obj.pop("status", None)
        metadata.pop("resourceVersion", None)
        metadata.pop("uid", None)
        return self.store(target.collection, obj)

    def _evict(self, target: Target) -> Manifest:
        key = Key(target.namespace, target.name)
        self.known(target)
        if key in self.blocked_evictions:
            raise Refusal(429, "TooManyRequests", "Cannot evict pod as it would violate a budget")
        self._end(target.collection, key)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def patch(self, target: Target, patch: Manifest, kind: str) -> Manifest:
        key = Key(target.namespace, target.name)
        old = self.all(target.collection).get(key)
        if old is None:
            if kind != "application/apply-patch+yaml":
                raise Refusal(404, "NotFound", f"{target.name} not found")
            return self.post(Target(target.collection, target.namespace, "", ""), patch)
        expected = (patch.get("metadata") or {}).get("resourceVersion")
        if expected and expected != old["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", "the object has been modified")
        new = patched(old, patch, target)
        if new == old:
            return old
        if old["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self.drop(target.collection, key)
            return new
        return self.store(target.collection, new)

    def delete(self, target: Target, options: Manifest) -> Manifest:
        obj = self.known(target)
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != obj["metadata"]["uid"]:
            raise Refusal(409, "Conflict", "Precondition failed: UID in precondition")
        self._end(target.collection, Key(target.namespace, target.name))
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _end(self, collection: Collection, key: Key) -> None:
        obj = self.all(collection)[key]
        if not obj["metadata"].get("finalizers"):
            self.drop(collection, key)
        elif not obj["metadata"].get("deletionTimestamp"):
            ending = copy.deepcopy(obj)
            ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.store(collection, ending)

    def known(self, target: Target) -> Manifest:
        try:
            return self.all(target.collection)[Key(target.namespace, target.name)]
        except KeyError:
            raise Refusal(404, "NotFound", f"{target.name} not found") from None

    def all(self, collection: Collection) -> dict[Key, Manifest]:
        return self._objects.setdefault(collection, {})

    def store(self, collection: Collection, obj: Manifest) -> Manifest:
        metadata = obj["metadata"]
        old = self.all(collection).get(key_of(obj))
        was = old["metadata"] if old else {}
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        metadata["uid"] = was.get("uid") or metadata.get("uid") or f"uid-{next(self._uids)}"
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        changed = old is None or old.get("spec") != obj.get("spec")
        metadata["generation"] = was.get("generation", 0) + int(changed)
        self.all(collection)[key_of(obj)] = obj
        self._happened(Change(self.version, collection, old, obj))
        return obj

    def drop(self, collection: Collection, key: Key) -> None:
        old = copy.deepcopy(self.all(collection).pop(key))
        self.version += 1
        old["metadata"]["resourceVersion"] = str(self.version)
        self._happened(Change(self.version, collection, old, None))


def parse(path: str) -> Target:
    """/api/v1/namespaces/a/pods/b/eviction → (("", "pods"), "a", "b", "eviction")"""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = [*rest, "", ""][:3]
    return Target((group, plural), namespace, name, subresource)


def key_of(obj: Manifest) -> Key:
    return Key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def has_status_subresource(collection: Collection) -> bool:
    """Nodes are the exception that matters: whoever registers one says its status at once."""
    return bool(collection[0]) or collection[1] == "pods"


def patched(old: Manifest, patch: Manifest, target: Target) -> Manifest:
    """What a patch makes of the object, save for what no patch may change."""
    new: Manifest = merged(copy.deepcopy(old), patch)
    if target.subresource == "status":
        new = {**copy.deepcopy(old), "status": new.get("status")}
    elif has_status_subresource(target.collection):
        new["status"] = copy.deepcopy(old.get("status"))
    if new.get("status") is None:
        new.pop("status", None)
    for fixed in ("uid", "creationTimestamp", "resourceVersion", "deletionTimestamp"):
        new["metadata"].pop(fixed, None)
        if fixed in old["metadata"]:
            new["metadata"][fixed] = old["metadata"][fixed]
    return new


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, on a copy."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
