"""A local copy of a collection that stays true: list, watch, and begin again where that broke.

It never gives up. What it has seen go wrong elsewhere, and treats: deletes that happen while a
watch is broken (derived from the new list), page tokens and resourceVersions that expire, errors
inside a stream, streams that fall silent, and objects that do not decode.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from kube import wire
from kube.client import PAGE, Client
from kube.clock import Clock
from kube.errors import GoneError, KubeError, NotFoundError
from kube.meta import Key, Resource
from kube.store import Object, Store
from kube.transport import NETWORK_ERRORS, backoff

__all__ = ["Handler", "Informer", "Store"]

logger = logging.getLogger(__name__)

O = TypeVar("O", bound=Object)  # noqa: E741 - a type variable

Handler = Callable[[O | None, O | None], None]
"""(old, new): old None is an add, new None a delete. Called in the loop: it must be quick."""

# The server ends a stream in time, so that watches spread anew over API servers.
_STREAM_SECONDS = 300.0
# A server that sends bookmarks says something each minute, also on an idle collection.
_SILENCE_WITH_BOOKMARKS = 90.0
# One that never did may be silent for as long as it has; TCP keepalive finds the dead ones.
_SILENCE_WITHOUT = _STREAM_SECONDS * 1.25 + 30.0
# A stream that ends at once, with nothing in it, is a failure and not an end.
_SHORTEST_STREAM = 1.0
# After as many failures in a row the resourceVersion itself is under suspicion.
_FAILURES_BEFORE_LIST = 3


class Informer(Generic[O]):
    """Keeps `store` equal to the collection, and tells subscribers of each change.

    `retry`: first and longest delay after a failure, seconds. `optional`: the kind may not be
    served (its CRD is somebody else's): then the store is empty, and in sync, until it is.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource[O],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        indexes: Mapping[str, Callable[[O], Iterable[str]]] | None = None,
        clock: Clock | None = None,
        retry: tuple[float, float] = (0.5, 30.0),
        page: int = PAGE,
        optional: bool = False,
    ) -> None:
        self.resource = resource
        self.served = False
        """Whether the API server has the kind."""
        self._optional = optional
        self.store: Store[O] = Store(indexes)
        self.synced = asyncio.Event()
        self.unreadable: dict[Key, str] = {}
        """Objects that exist and could not be decoded, with the reason. `store` lacks them, or
        holds their last readable state: who deletes what is absent must look here first."""
        self._client = client
        self._scope = {"namespace": namespace, "labels": labels, "fields": fields}
        self._clock = clock or Clock()
        self._retry = retry
        self._page = page
        self._handlers: list[Handler[O]] = []
        self._last_contact = self._clock.monotonic()
        self._version = ""
        self._failures = 0
        self._bookmarks = False

    @property
    def last_contact(self) -> float:
        """When the server last answered, as the clock's monotonic seconds."""
        return self._last_contact

    @property
    def scope(self) -> str:
        """Which part of the collection; empty: all of it."""
        return ",".join(part for part in self._scope.values() if part)

    @property
    def resource_version(self) -> str:
        """Up to where changes are known; empty where the next step is a list."""
        return self._version

    def subscribe(self, handler: Handler[O]) -> None:
        """Tell `handler` of all changes from now on; what is in the store it must look up."""
        self._handlers.append(handler)

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except GoneError as error:
                logger.info("list of %s is too old: %s", self.resource.plural, error)
                self._version = ""
                await self._wait_after_failure()
            except NotFoundError as error:
                await self._not_served(error)
            except (KubeError, ValueError, *NETWORK_ERRORS) as error:
                # ValueError: a body that is no JSON, from a proxy or a connection cut short.
                logger.warning(
                    "watch of %s: %s: %s", self.resource.plural, type(error).__name__, error
                )
                await self._wait_after_failure()
                if self._failures >= _FAILURES_BEFORE_LIST:
                    self._version = ""

    async def _not_served(self, error: NotFoundError) -> None:
        self._version = ""
        if not self._optional:
            logger.warning("%s are not served: %s", self.resource.plural, error)
            await self._wait_after_failure()
            return
        self._touch()
        changes = self.store.replace(())
        if self.served or not self.synced.is_set():
            logger.warning("%s are not served, so there are none: %s", self.resource.plural, error)
        self.served = False
        self.synced.set()
        for old, new in changes:
            self._tell(old, new)
        await self._clock.sleep(self._retry[1])

    async def _wait_after_failure(self) -> None:
        delay = backoff(self._failures, *self._retry)
        self._failures += 1
        await self._clock.sleep(delay)

    async def _list(self) -> None:
        unreadable: dict[Key, str] = {}
        listing = await self._client.list(
            self.resource,
            **self._scope,
            limit=self._page,
            decode=lambda raw: self._decode(raw, unreadable),
        )
        self._touch()
        self.unreadable = unreadable
        readable = (item for item in listing.items if not isinstance(item, wire.Head))
        changes = self.store.replace(readable, keep=unreadable)
        self._version = listing.resource_version
        self.served = True
        self.synced.set()
        for old, new in changes:
            self._tell(old, new)

    async def _watch(self) -> None:
        """Follow one stream to its end."""
        started = self._clock.monotonic()
        progress = False
        stream = self._client.watch(
            self.resource,
            **self._scope,
            resource_version=self._version,
            timeout_seconds=_STREAM_SECONDS * (1 + random.random() / 4),  # noqa: S311
            silence=_SILENCE_WITH_BOOKMARKS if self._bookmarks else _SILENCE_WITHOUT,
            decode=lambda raw: self._decode(raw, self.unreadable),
            opened=self._touch,
        )
        async with aclosing(stream) as events:
            async for kind, changed, version in events:
                progress = True
                self._failures = 0
                self._touch()
                if version:
                    self._version = version
                if changed is None:
                    self._bookmarks = True
                else:
                    self._take(kind, changed)
        self._touch()
        if progress or self._clock.monotonic() - started >= _SHORTEST_STREAM:
            self._failures = 0
        else:
            await self._wait_after_failure()

    def _take(self, kind: str, changed: O) -> None:
        if kind == "DELETED":
            key = changed.metadata.key
            self.unreadable.pop(key, None)
            old = self.store.remove(key)
            if old is not None:
                self._tell(old, None)
        elif not isinstance(changed, wire.Head):
            if self.unreadable:
                self.unreadable.pop(changed.metadata.key, None)
            self._tell(self.store.put(changed), changed)

    def _decode(self, raw: wire.Wire, unreadable: dict[Key, str]) -> O:
        """The object, or only its head where the rest does not decode, which is then noted."""
        try:
            return self.resource.decode(raw)
        except ValueError as error:
            reason = str(error)
        head: Any = wire.Head()
        try:
            head = wire.decode_head(raw)
        except ValueError:
            logger.error("an object of %s has no readable metadata", self.resource.plural)
        else:
            unreadable[head.metadata.key] = reason
            logger.error(
                "%s %s does not decode and is skipped: %s",
                self.resource.kind,
                head.metadata.key,
                reason,
                extra={"object": str(head.metadata.key)},
            )
        return head  # type: ignore[no-any-return]  # told apart again by its type

    def _tell(self, old: O | None, new: O | None) -> None:
        for handler in self._handlers:
            handler(old, new)

    def _touch(self) -> None:
        self._last_contact = self._clock.monotonic()
