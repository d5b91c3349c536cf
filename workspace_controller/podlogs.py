"""Logs of pods that start or tune, read in the background: no reconcile waits.

Of the container that has something to say the tail alone, and not often. A cluster where all
serve costs nothing: a pod that is ready, and does not tune, is not read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from apis import reports
from apis.reports import Reports
from kube.client import Client
from kube.clock import Clock
from kube.errors import KubeError
from kube.meta import Key
from kube.objects import Pod
from kube.store import Store
from kube.transport import NETWORK_ERRORS, backoff
from workspace_controller.workspace import owner, podreports

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
"""Between two looks at a pod."""
SILENCE_SECONDS = (EVERY_SECONDS, 300.0)
"""Pauses, at first and at most, while its log cannot be had."""
TAIL_LINES = 100
TAIL_BYTES = 256 << 10
_ANSWER_SECONDS = 10.0
"""A kubelet that does not answer holds one of the places for that long."""
_AT_ONCE = 16


@dataclass(slots=True)
class _Entry:
    """What is known of a pod, and what of it was worth telling."""

    told: Reports = field(default_factory=Reports)
    known: Reports = field(default_factory=Reports)
    told_at: float = 0.0
    container: str = ""
    """Whose words the stage is."""
    failures: int = 0
    task: asyncio.Task[None] | None = None


class PodLogs:
    """Reports by a pod's uid; told by an informer (`subscribe(logs.changed)`) whom to read.

    `wake` is called with the key of the Workspace whose pod has something new to say.
    """

    name = "podlogs"

    def __init__(self, client: Client, pods: Store[Pod], clock: Clock) -> None:
        self.wake: Callable[[Key], None] = lambda _: None
        self._client = client
        self._pods = pods
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._running = False
        self._stopped = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Until `stop`; only the replica that leads reads."""
        self._running = True
        for pod in self._pods.list():
            self.changed(None, pod)
        try:
            await self._stopped.wait()
        finally:
            self._running = False
            tasks = [each.task for each in self._entries.values() if each.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        self._stopped.set()

    def changed(self, old: Pod | None, new: Pod | None) -> None:
        """Begin with a pod that has something to say; forget one that is gone."""
        if new is None:
            if old is not None:
                self._forget(old.metadata.uid)
            return
        container = podreports.speaking(new)
        if not self._running or not container:
            return
        entry = self._entries.setdefault(new.metadata.uid, _Entry())
        if container != entry.container:
            entry.container = container
            entry.told, entry.known = (
                replace(entry.told, stage=None),
                replace(entry.known, stage=None),
            )
        if entry.task is None:
            entry.task = asyncio.create_task(self._follow(new, entry))

    def of(self, pods: Iterable[Pod]) -> Mapping[str, Reports]:
        """What of them is known, and was worth telling."""
        found = {pod.metadata.uid: self._entries.get(pod.metadata.uid) for pod in pods}
        return {uid: entry.told for uid, entry in found.items() if entry is not None}

    def _forget(self, uid: str) -> None:
        entry = self._entries.pop(uid, None)
        if entry is not None and entry.task is not None:
            entry.task.cancel()

    async def _follow(self, pod: Pod, entry: _Entry) -> None:
        """Until the pod has nothing more to say."""
        meta = pod.metadata
        try:
            while (now := self._pods.get(meta.name, meta.namespace)) is not None:
                container = podreports.speaking(now) if now.metadata.uid == meta.uid else ""
                if not container:
                    break
                pause = await self._look(now, container, entry)
                await self._clock.sleep(pause)
        finally:
            entry.task = None
        if not podreports.of_job(pod):
            # Its start is over; what comes next is another one.
            self._entries.pop(meta.uid, None)

    async def _look(self, pod: Pod, container: str, entry: _Entry) -> float:
        """Read once; the pause until the next time."""
        try:
            async with self._slots, asyncio.timeout(_ANSWER_SECONDS):
                text = await self._client.logs(
                    pod.metadata.name,
                    pod.metadata.namespace,
                    container=container,
                    tail_lines=TAIL_LINES,
                    limit_bytes=TAIL_BYTES,
                )
        except (KubeError, *NETWORK_ERRORS) as error:
            if not entry.failures:
                logger.info("no log of %s in pod %s: %s", container, pod.metadata.key, error)
            entry.failures += 1
            return backoff(entry.failures, *SILENCE_SECONDS)
        entry.failures = 0
        if container != entry.container:
            return EVERY_SECONDS  # another one speaks by now
        self._take(pod, entry, reports.read(text.splitlines()))
        return EVERY_SECONDS

    def _take(self, pod: Pod, entry: _Entry, found: Reports) -> None:
        entry.known = podreports.newest(entry.known, found)
        now = self._clock.monotonic()
        if podreports.worth_telling(entry.told, entry.known, now - entry.told_at):
            entry.told, entry.told_at = entry.known, now
            for key in owner.of_child(pod):
                self.wake(key)
