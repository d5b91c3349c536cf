"""Events for people: what a controller did to an object, as core/v1 Event objects.

The same words about the same object within two minutes are one Event with a count, and an object
that talks too much is cut off as client-go's spam filter does. Telling never fails and never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from kube import metrics
from kube.client import Client
from kube.clock import Clock
from kube.errors import AlreadyExistsError, KubeError, NotFoundError
from kube.meta import Manifest, ObjectMeta, Resource
from kube.objects import EVENTS
from kube.transport import NETWORK_ERRORS

logger = logging.getLogger(__name__)

_SAME_SECONDS = 120.0
_BURST = 25
_REFILL_SECONDS = 300.0
_MESSAGE_LENGTH = 1024
_NAME_LENGTH = 253
_WAITING = 1000
_REMEMBERED = 4096

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _About(NamedTuple):
    """What makes two events the same."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Told:
    name: str
    first: datetime
    last: datetime
    last_at: float
    resource_version: str
    count: int = 1
    written: bool = False
    waiting: bool = False


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class _Recent(OrderedDict[K, V], Generic[K, V]):
    """Forgets what was used longest ago."""

    def used(self, key: K, value: V) -> V:
        self[key] = value
        self.move_to_end(key)
        if len(self) > _REMEMBERED:
            self.popitem(last=False)
        return value


class Recorder:
    """`event` notes, `run` writes; `component` is who says it."""

    def __init__(self, client: Client, component: str, clock: Clock | None = None) -> None:
        self._client = client
        self._component = component
        self._clock = clock or Clock()
        self._told: _Recent[_About, _Told] = _Recent()
        self._buckets: _Recent[tuple[str, ...], _Bucket] = _Recent()
        self._queue: asyncio.Queue[tuple[_About, _Told]] = asyncio.Queue(_WAITING)
        self._serial = 0

    def event(
        self, resource: Resource[Any], metadata: ObjectMeta, type_: str, reason: str, message: str
    ) -> None:
        """Say `message` about the object. `type_` is Normal or Warning; what is over 1,024
        characters is cut."""
        if len(message) > _MESSAGE_LENGTH:
            message = message[: _MESSAGE_LENGTH - 1] + "…"
        about = _About(
            resource.api_version,
            resource.kind,
            metadata.namespace,
            metadata.name,
            metadata.uid,
            type_,
            reason,
            message,
        )
        told = self._note(about, metadata.resource_version)
        if told.waiting:
            return  # its count goes out with what is on the way
        if not self._may_speak(about):
            metrics.EVENTS_DROPPED.labels("rate").inc()
            return
        try:
            self._queue.put_nowait((about, told))
        except asyncio.QueueFull:
            metrics.EVENTS_DROPPED.labels("queue").inc()
        else:
            told.waiting = True

    async def run(self) -> None:
        """Write what was said, until cancelled."""
        while True:
            about, told = await self._queue.get()
            try:
                await self._write(about, told)
            except (KubeError, *NETWORK_ERRORS) as error:
                metrics.EVENTS_DROPPED.labels("error").inc()
                logger.warning("event %s of %s was lost: %s", about.reason, about.name, error)
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Return once all that was said so far is written; `run` must be running."""
        await self._queue.join()

    def _note(self, about: _About, resource_version: str) -> _Told:
        now, at = self._clock.now(), self._clock.monotonic()
        told = self._told.get(about)
        if told is not None and at - told.last_at < _SAME_SECONDS:
            told.count += 1
            told.last, told.last_at = now, at
            return self._told.used(about, told)
        self._serial += 1
        suffix = f".{int(now.timestamp() * 1e6):x}{self._serial % 4096:03x}"
        name = about.name[: _NAME_LENGTH - len(suffix)] + suffix
        return self._told.used(about, _Told(name, now, now, at, resource_version))

    def _may_speak(self, about: _About) -> bool:
        """Take a token of the object's bucket: 25 at once, then one each five minutes."""
        at = self._clock.monotonic()
        who = about[:5]
        bucket = self._buckets.used(who, self._buckets.get(who) or _Bucket(_BURST, at))
        bucket.tokens = min(_BURST, bucket.tokens + (at - bucket.filled_at) / _REFILL_SECONDS)
        bucket.filled_at = at
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def _write(self, about: _About, told: _Told) -> None:
        told.waiting = False
        namespace = about.namespace or "default"
        if told.written:
            patch = {"count": told.count, "lastTimestamp": _timestamp(told.last)}
            try:
                await self._client.patch(EVENTS, told.name, patch, namespace=namespace)
            except NotFoundError:
                pass  # the server keeps events for an hour; tell it anew
            else:
                return
        with suppress(AlreadyExistsError):  # our own, its answer lost
            await self._client.create(self._manifest(about, told, namespace))
        told.written = True

    def _manifest(self, about: _About, told: _Told, namespace: str) -> Manifest:
        involved = {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
            "resourceVersion": told.resource_version,
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": told.name, "namespace": namespace},
            "involvedObject": {field: value for field, value in involved.items() if value},
            "type": about.type,
            "reason": about.reason,
            "message": about.message,
            "count": told.count,
            "firstTimestamp": _timestamp(told.first),
            "lastTimestamp": _timestamp(told.last),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }


def _timestamp(at: datetime) -> str:
    """metav1.Time: whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
