import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from kube.controller import Controller, Result, Singleton
from kube.errors import ConflictError, ServerError
from kube.informer import Informer
from kube.meta import Key, ObjectMeta
from kube.metrics import REGISTRY
from kube.objects import Node, Pod, PodSpec
from kube.store import Store
from tests.fakes.clock import FakeClock, settle


class FakeInformer(SimpleNamespace):
    """A store, its subscribers, and no server."""

    def __init__(self) -> None:
        super().__init__(store=Store(), synced=asyncio.Event(), handlers=[])
        self.synced.set()

    def subscribe(self, handler: Callable[[Any, Any], None]) -> None:
        self.handlers.append(handler)

    def put(self, obj: Any) -> None:
        old = self.store.put(obj)
        for handler in self.handlers:
            handler(old, obj)

    def remove(self, name: str) -> None:
        old = self.store.remove(Key("", name))
        for handler in self.handlers:
            handler(old, None)

    @property
    def typed(self) -> Informer[Any]:
        return cast("Informer[Any]", self)


def a_node(name: str, **labels: str) -> Node:
    return Node(metadata=ObjectMeta(name=name, labels=labels))


class Recording:
    """Reconciles nothing, and remembers for whom; `then` says how it goes."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.then: Callable[[Node], Awaitable[Result]] | None = None

    async def reconcile(self, node: Node) -> Result:
        self.seen.append(node.metadata.name)
        return await self.then(node) if self.then else Result()


def failing(*errors: Exception) -> Callable[[Node], Awaitable[Result]]:
    left = list(errors)

    async def then(_: Node) -> Result:
        if left:
            raise left.pop(0)
        return Result()

    return then


@asynccontextmanager
async def running(work: Controller[Any] | Singleton) -> AsyncIterator[None]:
    task = asyncio.create_task(work.run())
    await settle()
    yield
    work.stop()
    async with asyncio.timeout(1):
        await task


@pytest.fixture
def informer() -> FakeInformer:
    return FakeInformer()


@pytest.fixture
def reconciler() -> Recording:
    return Recording()


def a_controller(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock, **options: Any
) -> Controller[Node]:
    options = {"name": "test", "backoff": (1.0, 100.0), "workers": 2} | options
    return Controller(options.pop("name"), informer.typed, reconciler, clock=clock, **options)


async def test_what_is_there_and_what_changes_is_reconciled(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    informer.put(a_node("a"))
    async with running(a_controller(informer, reconciler, clock)):
        assert reconciler.seen == ["a"]
        informer.put(a_node("b"))
        informer.put(a_node("a", x="y"))
        await settle()
        assert reconciler.seen == ["a", "b", "a"]


async def test_a_change_that_is_not_worth_a_look_wakes_nobody(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    informer.put(a_node("a"))

    def relabelled(old: Node, new: Node) -> bool:
        return old.metadata.labels != new.metadata.labels

    async with running(a_controller(informer, reconciler, clock, stirs=relabelled)):
        informer.put(a_node("a"))
        await settle()
        assert reconciler.seen == ["a"]
        informer.put(a_node("a", x="y"))
        await settle()
        assert reconciler.seen == ["a", "a"]
        informer.remove("a")
        informer.put(a_node("a", x="y"))
        await settle()
        assert reconciler.seen == ["a", "a", "a"]


async def test_nothing_is_done_before_all_caches_are_full(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    pods = FakeInformer()
    pods.synced.clear()
    informer.put(a_node("a"))
    controller = a_controller(informer, reconciler, clock)
    controller.watch(pods.typed, lambda pod: [])
    async with running(controller):
        assert reconciler.seen == []
        pods.synced.set()
        await settle()
        assert reconciler.seen == ["a"]


async def test_a_deleted_object_is_not_reconciled(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    async with running(a_controller(informer, reconciler, clock)):
        informer.put(a_node("a"))
        informer.remove("a")
        await settle()
    assert reconciler.seen == []


async def test_what_does_not_concern_it_is_left_alone(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    informer.put(a_node("theirs"))
    informer.put(a_node("ours", mine="yes"))
    controller = a_controller(
        informer, reconciler, clock, concerns=lambda node: "mine" in node.metadata.labels
    )
    async with running(controller):
        informer.put(a_node("ours"))  # ours no more
        await settle()
    assert reconciler.seen == ["ours"]


async def test_a_change_elsewhere_concerns_the_objects_before_and_after(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    pods = FakeInformer()
    for name in ("a", "b", "c"):
        informer.put(a_node(name))
    controller = a_controller(informer, reconciler, clock)
    controller.watch(pods.typed, lambda pod: [Key("", pod.spec.node_name)])
    async with running(controller):
        reconciler.seen.clear()
        pods.put(Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(node_name="a")))
        await settle()
        assert reconciler.seen == ["a"]
        pods.put(Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(node_name="b")))
        await settle()
        assert sorted(reconciler.seen) == ["a", "a", "b"]


async def test_an_object_that_cannot_be_mapped_harms_nobody(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    pods = FakeInformer()
    informer.put(a_node("a"))
    controller = a_controller(informer, reconciler, clock)
    controller.watch(pods.typed, lambda pod: [Key("", pod.metadata.labels["node"])])
    async with running(controller):
        pods.put(Pod(metadata=ObjectMeta(name="odd")))
        pods.put(Pod(metadata=ObjectMeta(name="p", labels={"node": "a"})))
        await settle()
    assert reconciler.seen == ["a", "a"]


async def test_failures_are_tried_again_ever_later(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    reconciler.then = failing(ValueError("one"), ServerError(500), ValueError("three"))
    informer.put(a_node("a"))
    async with running(a_controller(informer, reconciler, clock)):
        for delay, runs in ((0.5, 1), (0.5, 2), (1.5, 2), (0.5, 3), (4, 4), (500, 4)):
            await clock.pass_(delay, step=delay)
            assert len(reconciler.seen) == runs


async def test_success_makes_the_next_failure_a_first_one(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    reconciler.then = failing(ValueError(), ValueError())
    informer.put(a_node("a"))
    async with running(a_controller(informer, reconciler, clock)):
        await clock.pass_(10)
        assert len(reconciler.seen) == 3
        reconciler.then = failing(ValueError())
        informer.put(a_node("a"))
        await clock.pass_(1)
        assert len(reconciler.seen) == 5


async def test_look_again_later(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    async def then(_: Node) -> Result:
        return Result.soonest([None, 30.0, 10.0])

    reconciler.then = then
    informer.put(a_node("a"))
    async with running(a_controller(informer, reconciler, clock)):
        await clock.pass_(9)
        assert len(reconciler.seen) == 1
        await clock.pass_(1)
        assert len(reconciler.seen) == 2


def test_soonest_of_nothing_is_never() -> None:
    assert Result.soonest([None]) == Result(None)
    assert Result.soonest([]) == Result(None)
    assert Result.soonest([3.0, 0.0]) == Result(0.0)


async def test_one_object_is_worked_on_once_at_a_time(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    running_now: list[str] = []
    most: list[int] = []
    gate = asyncio.Event()

    async def then(node: Node) -> Result:
        assert node.metadata.name not in running_now
        running_now.append(node.metadata.name)
        most.append(len(running_now))
        await gate.wait()
        running_now.remove(node.metadata.name)
        return Result()

    reconciler.then = then
    async with running(a_controller(informer, reconciler, clock, workers=3)):
        for name in ("a", "b", "a", "c", "d", "a"):
            informer.put(a_node(name))
            await settle(2)
        gate.set()
        await settle()
    assert max(most) == 3
    assert sorted(reconciler.seen) == ["a", "a", "b", "c", "d"]


async def test_stop_lets_what_runs_end_and_begins_nothing(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    ended: list[str] = []
    gate = asyncio.Event()

    async def then(node: Node) -> Result:
        await gate.wait()
        ended.append(node.metadata.name)
        return Result()

    reconciler.then = then
    for name in ("a", "b"):
        informer.put(a_node(name))
    controller = a_controller(informer, reconciler, clock, workers=1)
    task = asyncio.create_task(controller.run())
    await settle()
    controller.stop()
    await settle()
    assert not task.done()
    gate.set()
    await task
    assert ended == ["a"]


def count(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0


async def test_conflicts_are_quiet_and_quick(
    informer: FakeInformer,
    reconciler: Recording,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    conflict = ConflictError(409, "Conflict")
    reconciler.then = failing(conflict, ExceptionGroup("all", [conflict]))
    informer.put(a_node("a"))
    with caplog.at_level(logging.INFO):
        async with running(a_controller(informer, reconciler, clock, name="conflicts")):
            await clock.pass_(3)
    assert len(reconciler.seen) == 3
    assert caplog.text == ""
    assert count("controller_runtime_reconcile_errors_total", controller="conflicts") == 0
    assert (
        count("controller_runtime_reconcile_total", controller="conflicts", result="requeue") == 2
    )


async def test_a_conflict_is_over_soon_and_is_no_failure(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    conflict = ConflictError(409, "Conflict")
    reconciler.then = failing(conflict, conflict, conflict, ServerError(500))
    informer.put(a_node("a"))
    async with running(a_controller(informer, reconciler, clock, backoff=(30.0, 100.0))):
        await clock.pass_(1, step=0.05)
        assert len(reconciler.seen) == 4
        await clock.pass_(28)
        assert len(reconciler.seen) == 4, "the first failure waits as failures do, and no longer"
        await clock.pass_(2)
        assert len(reconciler.seen) == 5


async def test_a_conflict_that_does_not_end_is_not_asked_about_all_the_time(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    reconciler.then = failing(*[ConflictError(409, "Conflict")] * 1000)
    informer.put(a_node("a"))
    async with running(a_controller(informer, reconciler, clock)):
        await clock.pass_(20)
        before = len(reconciler.seen)
        await clock.pass_(100, step=0.5)
        assert 20 <= len(reconciler.seen) - before <= 40
        informer.put(a_node("a"))
        await settle()
        assert len(reconciler.seen) - before <= 41, "a change is looked at at once"


async def test_failures_are_counted_and_logged_with_their_object(
    informer: FakeInformer,
    reconciler: Recording,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reconciler.then = failing(
        ExceptionGroup(
            "steps",
            [ServerError(500, "Oops", "no"), ConflictError(409), aiohttp.ClientError("lost")],
        ),
        KeyError("bug"),
    )
    informer.put(a_node("a"))
    async with running(a_controller(informer, reconciler, clock, name="failures")):
        await clock.pass_(5)
    plain, bug = caplog.records
    assert plain.getMessage() == "Reconciler error: ServerError: 500 Oops: no; ClientError: lost"
    assert plain.exc_info is None
    assert bug.exc_info is not None
    name = "failures"
    assert count("controller_runtime_reconcile_errors_total", controller=name) == 2
    assert count("controller_runtime_reconcile_total", controller=name, result="error") == 2
    assert count("controller_runtime_reconcile_total", controller=name, result="success") == 1
    assert count("controller_runtime_reconcile_time_seconds_count", controller=name) == 3


async def test_a_singleton_repeats(clock: FakeClock) -> None:
    at: list[float] = []

    async def work() -> None:
        at.append(clock.monotonic())

    async with running(Singleton("sweep", 120.0, work, clock=clock)):
        await clock.pass_(300, step=10)
    assert at == [0, 120, 240]


async def test_a_failed_singleton_comes_sooner_but_not_for_ever(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    at: list[float] = []

    async def work() -> None:
        at.append(clock.monotonic())
        if len(at) < 6:
            raise ServerError(500)

    async with running(Singleton("fails", 10.0, work, backoff=2.0, clock=clock)):
        await clock.pass_(44)
    assert at == [0, 2, 6, 14, 24, 34, 44]
    assert len(caplog.records) == 5
    assert count("controller_runtime_reconcile_errors_total", controller="fails") == 5


async def test_a_change_elsewhere_that_does_not_stir_wakes_nobody(
    informer: FakeInformer, reconciler: Recording, clock: FakeClock
) -> None:
    pods = FakeInformer()
    informer.put(a_node("a"))
    controller = a_controller(informer, reconciler, clock)
    controller.watch(
        pods.typed,
        lambda pod: [Key("", pod.spec.node_name)],
        stirs=lambda old, new: old.spec.node_name != new.spec.node_name,
    )
    async with running(controller):
        reconciler.seen.clear()
        for labels in ({}, {"x": "y"}):
            pods.put(Pod(metadata=ObjectMeta(name="p", labels=labels), spec=PodSpec(node_name="a")))
            await settle()
        assert reconciler.seen == ["a"], "it came; its labels say nothing"
