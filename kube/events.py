"""Events for people: what a controller did to an object, as core/v1 Event objects.

The same words about the same object are one Event with a count, also after a restart: its name
follows from what it says. What is too much is combined or cut off (kube.correlation). Telling never
fails and never waits.

An Event carries no reconcile ID: it stands for as many rounds as its count says. The log has, for
each of them, a line with the object's name and the ID.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Any

import msgspec

from kube import metrics
from kube.client import Client
from kube.clock import Clock
from kube.correlation import About, Correlator, Told
from kube.errors import AlreadyExistsError, KubeError, NotFoundError
from kube.meta import Manifest, ObjectMeta, Resource
from kube.objects import EVENTS
from kube.redaction import redacted
from kube.transport import NETWORK_ERRORS

logger = logging.getLogger(__name__)


class _Written(msgspec.Struct, frozen=True, rename="camel"):
    """An Event as it stands, as far as it is counted on."""

    count: int | None = None
    first_timestamp: str | None = None


_COUNTED = Resource(EVENTS.group, EVENTS.version, EVENTS.kind, EVENTS.plural, _Written)
_MESSAGE_LENGTH = 1024
_SEARCHED_LENGTH = 8 * _MESSAGE_LENGTH
_WAITING = 1000


class Recorder:
    """`event` notes, `run` writes; `component` is who says it."""

    def __init__(self, client: Client, component: str, clock: Clock | None = None) -> None:
        self._client = client
        self._component = component
        self._correlator = Correlator(component, clock or Clock())
        self._queue: asyncio.Queue[tuple[About, Told]] = asyncio.Queue(_WAITING)

    def event(
        self, resource: Resource[Any], metadata: ObjectMeta, type_: str, reason: str, message: str
    ) -> None:
        """Say `message` about the object. `type_` is Normal or Warning; what is over 1,024
        characters is cut."""
        about = About(
            resource.api_version,
            resource.kind,
            metadata.namespace,
            metadata.name,
            metadata.uid,
            type_,
            reason,
            _cut(message),
        )
        told = self._correlator.note(about, metadata.resource_version)
        if told.waiting:
            return  # its count goes out with what is on the way
        if not self._correlator.may_speak(about):
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

    async def _write(self, about: About, told: Told) -> None:
        told.waiting = False
        namespace = about.namespace or "default"
        if told.written:
            try:
                await self._update(told, namespace)
            except NotFoundError:
                pass  # the server keeps events for an hour; tell it anew
            else:
                return
        try:
            await self._client.create(self._manifest(about, told, namespace))
        except AlreadyExistsError:
            await self._adopt(told, namespace)
        told.written = True

    async def _update(self, told: Told, namespace: str) -> None:
        patch = {
            "count": told.count,
            "message": _cut(told.message),
            "lastTimestamp": _timestamp(told.last),
        }
        await self._client.patch(EVENTS, told.name, patch, namespace=namespace)

    async def _adopt(self, told: Told, namespace: str) -> None:
        """The Event is there: our own, its answer lost, or told before a restart, which is counted
        on. A patch is also how to look at it: to read events we need not be allowed."""
        patch = {"lastTimestamp": _timestamp(told.last)}
        live = await self._client.patch(_COUNTED, told.name, patch, namespace=namespace)
        if live.first_timestamp != _timestamp(told.first):
            told.count += live.count or 0
        await self._update(told, namespace)

    def _manifest(self, about: About, told: Told, namespace: str) -> Manifest:
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
            "message": _cut(told.message),
            "count": told.count,
            "firstTimestamp": _timestamp(told.first),
            "lastTimestamp": _timestamp(told.last),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }


def _cut(message: str) -> str:
    """Before it is searched for secrets, roughly: a service's answer may have any length."""
    message = redacted(message[:_SEARCHED_LENGTH])
    return message if len(message) <= _MESSAGE_LENGTH else message[: _MESSAGE_LENGTH - 1] + "…"


def _timestamp(at: datetime) -> str:
    """metav1.Time: whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
