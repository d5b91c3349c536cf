"""Run reconcilers: which object when, how often again, and what becomes of their errors."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from kube import log, metrics, tracing
from kube.clock import Clock
from kube.errors import ConflictError, PlainError
from kube.informer import Informer
from kube.meta import Key, ObjectMeta
from kube.origin import Origin
from kube.store import Object
from kube.transport import NETWORK_ERRORS, backoff
from kube.workqueue import WorkQueue

logger = logging.getLogger(__name__)

O = TypeVar("O", bound=Object)  # noqa: E741 - a type variable
S = TypeVar("S", bound=Object)
O_contra = TypeVar("O_contra", contravariant=True)

# Errors that say themselves what is wrong; of others the stack is wanted.
_PLAIN = (PlainError, *NETWORK_ERRORS)

# Seconds after a conflict, with chance in them: a watch is behind by so much, not by minutes.
_CONFLICT_FIRST = 0.1
_CONFLICT_LONGEST = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """A reconcile that went well; `requeue_after` seconds it wants to look again, None never."""

    requeue_after: float | None = None

    @classmethod
    def soonest(cls, waits: Iterable[float | None]) -> Result:
        """Look again as soon as the most impatient wants to."""
        return cls(min((wait for wait in waits if wait is not None), default=None))


class _Undone(Enum):
    """Why a reconcile is to be done again."""

    FAILURE = "error"
    CONFLICT = "requeue"


class Reconciler(Protocol[O_contra]):
    """Makes the world as the object says. Level-triggered: it is never told what changed.

    It may be called at any time and again, and must not keep what it learnt. It raises to be
    called again after a delay; ConflictError is no failure but a sign that the cache was behind,
    which it is not for long.
    """

    async def reconcile(self, obj: O_contra, /) -> Result: ...


class Runnable(Protocol):
    """What a manager runs once this process leads."""

    name: str

    async def run(self) -> None: ...

    def stop(self) -> None:
        """Take nothing new; `run` returns once what is running has ended."""


def always(*_: object) -> bool:
    return True


class Controller(Generic[O]):
    """Reconciles the objects of an informer that `concerns` picks, `workers` at a time.

    `stirs`: of an object's old and new state, whether the change is worth a look; a reconciler that
    writes down why it failed would otherwise wake itself, delay or not. `backoff`: first and
    longest delay after a failure, seconds.
    """

    def __init__(
        self,
        name: str,
        informer: Informer[O],
        reconciler: Reconciler[O],
        *,
        concerns: Callable[[O], bool] = always,
        stirs: Callable[[O, O], bool] = always,
        workers: int = 10,
        backoff: tuple[float, float] = (0.1, 300.0),
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._informer = informer
        self._reconciler = reconciler
        self._concerns = concerns
        self._stirs = stirs
        self._workers = workers
        self._clock = clock or Clock()
        self._watched: list[
            tuple[Informer[Any], Callable[[Any], Iterable[Key]], Callable[[Any, Any], bool]]
        ] = []
        self.queue: WorkQueue[Key] = WorkQueue(name, clock=self._clock, backoff=backoff)
        self._conflicts: dict[Key, int] = {}  # in a row
        self._listening = False

    def watch(
        self,
        informer: Informer[S],
        keys: Callable[[S], Iterable[Key]],
        *,
        stirs: Callable[[S, S], bool] = always,
    ) -> None:
        """A change of such an object concerns the objects with these keys: those that it named
        before the change, and those that it names after it. `stirs` as above."""
        self._watched.append((informer, keys, stirs))

    async def run(self) -> None:
        """Reconcile everything once the caches are full, then what changes, until `stop`.

        May be cancelled, and run again later.
        """
        for informer in (self._informer, *(informer for informer, _, _ in self._watched)):
            await informer.synced.wait()
        # No await from here to the subscription: nothing can change between look and listen.
        changed = self._trigger(self._own, self._stirs)
        for obj in self._informer.store.list():
            changed(None, obj)
        if not self._listening:
            self._listening = True
            self._informer.subscribe(changed)
            for informer, keys, stirs in self._watched:
                informer.subscribe(self._trigger(keys, stirs))
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"{self.name}-{number}")

    def stop(self) -> None:
        self.queue.shut_down()

    def _own(self, obj: O) -> Iterable[Key]:
        return (obj.metadata.key,) if self._concerns(obj) else ()

    def _trigger(
        self, keys: Callable[[S], Iterable[Key]], stirs: Callable[[S, S], bool] = always
    ) -> Callable[[S | None, S | None], None]:
        """A subscriber that never raises: one odd object must not end everybody's informer."""

        def changed(old: S | None, new: S | None) -> None:
            for obj in (old, new):
                if obj is None:
                    continue
                try:
                    if old is not None and new is not None and not stirs(old, new):
                        return
                    for key in keys(obj):
                        self.queue.add(key)
                except Exception as error:  # noqa: BLE001 - see above
                    with log.context(controller=self.name, object=str(obj.metadata.key)):
                        _report(self.name, error)

        return changed

    async def _work(self) -> None:
        while (key := await self.queue.get()) is not None:
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        obj = self._informer.store.get(key.name, key.namespace)
        if obj is None or not self._concerns(obj):
            self._forget(key)
            return
        result = await _measured(
            self.name, obj.metadata, lambda: self._reconciler.reconcile(obj), self._clock
        )
        if result is _Undone.CONFLICT:
            before = self._conflicts.get(key, 0)
            self._conflicts[key] = before + 1
            self.queue.add_after(key, backoff(before, _CONFLICT_FIRST, _CONFLICT_LONGEST))
        elif result is _Undone.FAILURE:
            self._conflicts.pop(key, None)
            self.queue.add_rate_limited(key)
        else:
            self._forget(key)
            if result.requeue_after is not None:
                self.queue.add_after(key, result.requeue_after)

    def _forget(self, key: Key) -> None:
        self._conflicts.pop(key, None)
        self.queue.forget(key)


class Singleton:
    """A job of its own: run at the start and `every` seconds after it has ended.

    After a failure it runs sooner: `backoff` seconds, doubling, and never later than `every`.
    """

    def __init__(
        self,
        name: str,
        every: float,
        work: Callable[[], Awaitable[None]],
        *,
        backoff: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._every = every
        self._work = work
        self._clock = clock or Clock()
        self.queue: WorkQueue[str] = WorkQueue(name, clock=self._clock, backoff=(backoff, every))

    async def run(self) -> None:
        """Repeat the work until `stop`."""
        self.queue.add(self.name)
        while await self.queue.get() is not None:
            try:
                result = await _measured(self.name, None, self._once, self._clock)
            finally:
                self.queue.done(self.name)
            if isinstance(result, _Undone):
                self.queue.add_rate_limited(self.name)
            else:
                self.queue.forget(self.name)
                self.queue.add_after(self.name, self._every)

    def stop(self) -> None:
        self.queue.shut_down()

    async def _once(self) -> Result:
        await self._work()
        return Result()


async def _measured(
    name: str, metadata: ObjectMeta | None, work: Callable[[], Awaitable[Result]], clock: Clock
) -> Result | _Undone:
    """Run the work; where it fails that is logged and counted. The one place that may catch
    everything: whatever a reconcile raises, the others go on."""
    started = clock.monotonic()
    fields = {"controller": name, log.RECONCILE_ID: str(uuid.uuid4())}
    if metadata is not None:
        fields |= {"object": str(metadata.key), **Origin.of(metadata).fields}
    with log.context(**fields):
        result: Result | _Undone
        try:
            with tracing.reconcile(name, metadata):
                result = await work()
            outcome = "success" if result.requeue_after is None else "requeue_after"
        except Exception as error:  # noqa: BLE001 - see above
            result = _Undone.FAILURE if _report(name, error) else _Undone.CONFLICT
            outcome = result.value
    metrics.RECONCILES.labels(name, outcome).inc()
    metrics.RECONCILE_SECONDS.labels(name).observe(clock.monotonic() - started)
    return result


def _report(name: str, error: Exception) -> bool:
    """Whether the error is one; a conflict only says that somebody else wrote in between."""
    failure: Exception | None = error
    if isinstance(error, ExceptionGroup):
        failure = error.split(ConflictError)[1]
    elif isinstance(error, ConflictError):
        failure = None
    if failure is None:
        logger.debug("conflict, looking again: %s", log.summary(error))
        return False
    metrics.RECONCILE_ERRORS.labels(name).inc()
    surprising = (
        failure.split(_PLAIN)[1] is not None
        if isinstance(failure, ExceptionGroup)
        else not isinstance(failure, _PLAIN)
    )
    logger.error(
        "Reconciler error: %s",
        log.summary(failure),
        exc_info=error if surprising else None,
    )
    return True
