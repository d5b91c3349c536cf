"""Verbs of the API server on kinds of ours and of others.

Reads give the Python type of the kind; writes take and give manifests, partial ones, so that
fields that we do not know survive. Retries, and only these, are the transport's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast

import msgspec

from kube import objects, wire
from kube.clock import Clock
from kube.config import Endpoint
from kube.errors import ConflictError, GoneError, NotFoundError, from_status
from kube.listing import Listing, O_co, WatchEvent
from kube.meta import Manifest, Resource
from kube.transport import Transport

T = TypeVar("T")

PAGE = 500
_SILENCE_SECONDS = 90.0
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"


class Client:
    """An API server. `kinds` are those that manifests may name, beside Kubernetes' own.

    `patience`: seconds within which a failed request may be tried again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        field_manager: str,
        kinds: Iterable[Resource[Any]] = (),
        clock: Clock | None = None,
        patience: float = 30.0,
    ) -> None:
        self.field_manager = field_manager
        known = [*objects.all_kinds(), *kinds]
        self._kinds = {(kind.api_version, kind.kind): kind for kind in known}
        self._transport = Transport(
            endpoint, user_agent=field_manager, clock=clock or Clock(), patience=patience
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    async def get(self, resource: Resource[T], name: str, namespace: str = "") -> T | None:
        """The object as the server has it now (not from a cache), or None where it is absent."""
        try:
            return resource.decode(
                await self._transport.request("GET", resource.path(namespace, name))
            )
        except NotFoundError:
            return None

    async def list(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        limit: int = PAGE,
        decode: Callable[[wire.Wire], T] | None = None,
    ) -> Listing[T]:
        """All objects that match, read in pages of `limit` that show one state.

        An object that `decode` (the kind's own where not given) refuses raises ValueError: a list
        with a hole in it would tell a garbage collector that something is gone.
        """
        query = _selectors(labels, fields)
        # A page token lives about five minutes. After a second loss all comes in one answer.
        for size in (limit, limit):
            try:
                return await self._pages(resource, namespace, query, size, decode)
            except GoneError:
                continue
        return await self._pages(resource, namespace, query, 0, decode)

    async def _pages(
        self,
        resource: Resource[T],
        namespace: str,
        query: dict[str, str],
        limit: int,
        decode: Callable[[wire.Wire], T] | None,
    ) -> Listing[T]:
        decode = decode or resource.decode
        params = {**query, "limit": str(limit)} if limit else dict(query)
        items: list[T] = []
        while True:
            body = await self._transport.request("GET", resource.path(namespace), params=params)
            page = wire.decode_page(body)
            items += [decode(raw) for raw in page.items or ()]
            if not page.metadata.continue_:
                return Listing(items, page.metadata.resource_version)
            params["continue"] = page.metadata.continue_

    async def watch(
        self,
        resource: Resource[O_co],
        *,
        resource_version: str,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        timeout_seconds: float = 300.0,
        silence: float = _SILENCE_SECONDS,
        decode: Callable[[wire.Wire], O_co] | None = None,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[WatchEvent[O_co], None]:
        """Changes since `resource_version`, until the server ends the stream (`timeout_seconds`).

        Not retried: where to go on is the caller's knowledge. `opened` is called once the server
        has accepted. Raises KubeError for a refusal, in the stream or before it (GoneError: list
        again), TimeoutError after `silence` seconds without a byte, else aiohttp's errors.
        """
        decode = decode or resource.decode
        params = {
            **_selectors(labels, fields),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(timeout_seconds))),
        }
        path = resource.path(namespace)
        async with self._transport.stream("GET", path, params=params, silence=silence) as response:
            if opened is not None:
                opened()
            async for line in wire.lines(response.content.iter_any()):
                kind, raw = wire.split(line)
                if kind == "BOOKMARK":
                    yield WatchEvent(kind, None, wire.decode_head(raw).metadata.resource_version)
                elif kind == "ERROR":
                    raise from_status(msgspec.json.decode(raw))
                else:
                    changed = decode(raw)
                    yield WatchEvent(kind, changed, changed.metadata.resource_version)

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create exactly this; AlreadyExistsError where the name is taken. With `dry_run` it is
        completed and judged, but not stored.

        A lost answer is retried when the name is ours (metadata.name): the second try then says
        AlreadyExistsError although the first may have been our own, which is what deterministic
        names are for. With generateName it is not retried, since that would make two.
        """
        resource = self._kind_of(manifest)
        metadata = manifest.get("metadata") or {}
        answer = await self._transport.request(
            "POST",
            resource.path(metadata.get("namespace", "")),
            params={
                "fieldManager": self.field_manager,
                **({"dryRun": "All"} if dry_run else {}),
            },
            body=msgspec.json.encode(manifest),
            repeatable=bool(metadata.get("name")),
        )
        return _manifest(answer)

    async def apply(
        self, manifest: Manifest, *, force: bool = True, subresource: str = ""
    ) -> Manifest:
        """Server-side apply as our field manager: own what is in `manifest`, and only that.

        `force` takes fields from other managers; without it they raise ConflictError.
        """
        resource = self._kind_of(manifest)
        metadata = manifest["metadata"]
        answer = await self._transport.request(
            "PATCH",
            resource.path(metadata.get("namespace", ""), metadata["name"], subresource),
            params={"fieldManager": self.field_manager, "force": str(force).lower()},
            body=msgspec.json.encode(manifest),
            content_type=_APPLY_PATCH,
        )
        return _manifest(answer)

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        patch: Manifest,
        *,
        namespace: str = "",
        subresource: str = "",
    ) -> T:
        """JSON merge patch: None removes a key, a list is replaced whole.

        With metadata.resourceVersion in the patch it is a compare-and-swap (ConflictError).
        """
        answer = await self._transport.request(
            "PATCH",
            resource.path(namespace, name, subresource),
            params={"fieldManager": self.field_manager},
            body=msgspec.json.encode(patch),
            content_type=_MERGE_PATCH,
        )
        return resource.decode(answer)

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        grace_period_seconds: int | None = None,
        propagation: Literal["", "Foreground", "Background", "Orphan"] = "",
    ) -> None:
        """Ask for the object's end; an absent one is fine, and so is, given `uid`, another one."""
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation:
            options["propagationPolicy"] = propagation
        path = resource.path(namespace, name)
        try:
            await self._transport.request("DELETE", path, body=msgspec.json.encode(options))
        except NotFoundError:
            return
        except ConflictError:
            if uid and not await self._is(path, uid):
                return
            raise

    async def post(
        self,
        resource: Resource[Any],
        name: str,
        subresource: str,
        body: Manifest,
        *,
        namespace: str = "",
    ) -> Manifest:
        """POST to a subresource, e.g. `pods/eviction`.

        No refusal is retried: from an eviction a 429 means that a disruption budget forbids it, a
        500 that two of them cover the pod, and the caller has something to tell. Neither is a lost
        answer.
        """
        answer = await self._transport.request(
            "POST",
            resource.path(namespace, name, subresource),
            params={"fieldManager": self.field_manager},
            body=msgspec.json.encode(body),
            repeatable=False,
            retry_refused=False,
        )
        return _manifest(answer)

    async def logs(
        self, pod: str, namespace: str, *, container: str, tail_lines: int, limit_bytes: int
    ) -> str:
        """The end of a container's log, as its kubelet has it; bytes that are no text are replaced.

        Not retried: a kubelet that does not answer is the caller's to ask again, or not.
        """
        answer = await self._transport.request(
            "GET",
            objects.PODS.path(namespace, pod, "log"),
            params={
                "container": container,
                "tailLines": str(tail_lines),
                "limitBytes": str(limit_bytes),
            },
            repeatable=False,
            retry_refused=False,
        )
        return answer.decode(errors="replace")

    async def _is(self, path: str, uid: str) -> bool:
        try:
            return wire.decode_head(await self._transport.request("GET", path)).metadata.uid == uid
        except NotFoundError:
            return False

    def _kind_of(self, manifest: Manifest) -> Resource[Any]:
        named = (manifest.get("apiVersion", ""), manifest.get("kind", ""))
        if named not in self._kinds:
            raise LookupError(f"the client was not given the kind {named[0]} {named[1]}")
        return self._kinds[named]


def _selectors(labels: str, fields: str) -> dict[str, str]:
    given = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in given.items() if value}


def _manifest(answer: bytes) -> Manifest:
    return cast("Manifest", msgspec.json.decode(answer))
