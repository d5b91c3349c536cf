import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kube.metrics import REGISTRY
from kube.workqueue import WorkQueue
from tests.fakes.clock import FakeClock, settle


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue[str]:
    return WorkQueue("test", clock=clock, backoff=(1.0, 10.0))


async def taken(queue: WorkQueue[str]) -> list[str]:
    """All that is ready, taken and done."""
    keys = []
    while len(queue):
        key = await queue.get()
        assert key is not None
        keys.append(key)
        queue.done(key)
    return keys


async def test_a_key_waits_once(queue: WorkQueue[str]) -> None:
    for key in ("a", "b", "a"):
        queue.add(key)
    assert await taken(queue) == ["a", "b"]


async def test_a_key_added_while_it_runs_runs_once_more(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await taken(queue) == ["a"]


async def test_a_waiting_worker_gets_the_key(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(2)]
    await settle()
    queue.add("a")
    await settle()
    assert [worker.done() for worker in workers] == [True, False]
    queue.add("b")
    assert await workers[1] == "b"


async def test_a_worker_cancelled_on_its_turn_loses_no_key(queue: WorkQueue[str]) -> None:
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await settle()
    queue.add("a")
    first.cancel()
    assert await second == "a"
    assert first.cancelled()


async def test_the_earliest_deadline_wins(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 5)
    queue.add_after("a", 2)
    queue.add_after("a", 9)
    clock.advance(1.9)
    assert await taken(queue) == []
    clock.advance(0.1)
    assert await taken(queue) == ["a"]
    clock.advance(20)
    assert await taken(queue) == []


async def test_deadlines_come_in_their_order(queue: WorkQueue[str], clock: FakeClock) -> None:
    for key, delay in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("now", 0.0)):
        queue.add_after(key, delay)
    assert await taken(queue) == ["now"]
    clock.advance(10)
    assert await taken(queue) == ["a", "b", "c"]


async def test_failures_double_the_delay_until_forgotten(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    for delay in (1, 2, 4, 8, 10, 10):
        queue.add_rate_limited("a")
        clock.advance(delay - 0.01)
        assert await taken(queue) == []
        clock.advance(0.01)
        assert await taken(queue) == ["a"]
    assert queue.failures("a") == 6
    queue.forget("a")
    queue.add_rate_limited("a")
    clock.advance(1)
    assert await taken(queue) == ["a"]


async def test_each_key_has_its_own_backoff(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_rate_limited("a")
    queue.add_rate_limited("a")
    queue.add_rate_limited("b")
    clock.advance(1)
    assert sorted(await taken(queue)) == ["a", "b"]


async def test_shut_down_ends_waiting_and_drops_the_rest(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    waiting = asyncio.create_task(queue.get())
    await settle()
    queue.add_after("later", 1)
    queue.shut_down()
    assert await waiting is None
    queue.add("a")
    clock.advance(5)
    assert await queue.get() is None


async def test_shut_down_lets_the_running_key_end(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.shut_down()
    queue.done("a")
    assert await queue.get() is None


async def test_metrics_have_client_gos_names(clock: FakeClock) -> None:
    queue: WorkQueue[str] = WorkQueue("measured", clock=clock)

    def metric(name: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"name": "measured"})

    queue.add("a")
    queue.add("b")
    queue.add("a")
    clock.advance(3)
    assert metric("workqueue_depth") == 2
    assert metric("workqueue_adds_total") == 2
    assert await queue.get() == "a"
    clock.advance(2)
    assert await queue.get() == "b"
    clock.advance(1)
    assert metric("workqueue_depth") == 0
    assert metric("workqueue_queue_duration_seconds_sum") == 3 + 5
    assert metric("workqueue_unfinished_work_seconds") == 3 + 1
    assert metric("workqueue_longest_running_processor_seconds") == 3
    queue.done("a")
    queue.add_rate_limited("b")
    assert metric("workqueue_work_duration_seconds_sum") == 3
    assert metric("workqueue_retries_total") == 1


KEYS = st.sampled_from("abc")


class QueueMachine(RuleBasedStateMachine):
    """No key runs twice at once, and none that was added is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.queue: WorkQueue[str] = WorkQueue("machine", clock=self.clock, backoff=(1.0, 8.0))
        self.wanted: set[str] = set()  # added, and not begun since
        self.running: set[str] = set()
        self.deadlines: dict[str, float] = {}
        self.failures: dict[str, int] = {}

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.wanted.add(key)

    @rule(key=KEYS, delay=st.integers(1, 5))
    def add_after(self, key: str, delay: int) -> None:
        self.queue.add_after(key, delay)
        self._expect(key, delay)

    @rule(key=KEYS)
    def fail(self, key: str) -> None:
        self.queue.add_rate_limited(key)
        self._expect(key, min(8.0, 2.0 ** self.failures.get(key, 0)))
        self.failures[key] = self.failures.get(key, 0) + 1

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @rule(seconds=st.integers(1, 6))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        due = {key for key, at in self.deadlines.items() if at <= self.clock.monotonic()}
        self.wanted |= due
        for key in due:
            del self.deadlines[key]

    @precondition(lambda self: len(self.queue))
    @rule()
    def take(self) -> None:
        getting = self.queue.get()
        with pytest.raises(StopIteration) as ended:  # nothing to wait for: one step
            getting.send(None)
        key = ended.value.value
        assert key not in self.running
        self.wanted.remove(key)
        self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.done(key)
        self.running.remove(key)

    def _expect(self, key: str, delay: float) -> None:
        deadline = self.clock.monotonic() + delay
        self.deadlines[key] = min(deadline, self.deadlines.get(key, deadline))

    @invariant()
    def what_is_wanted_and_not_running_is_ready(self) -> None:
        assert len(self.queue) == len(self.wanted - self.running)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
