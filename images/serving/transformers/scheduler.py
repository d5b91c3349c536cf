"""Who takes the next step: one thread, in which the model reads and writes for all requests.

Each turn reads a piece of one new prompt and then writes one token for every answer in work, so
that a long prompt holds nobody up for long and an answer begins as soon as there is room. Answers
of one adapter share their steps; the model without any is one of them. Where the cache would grow
over its share of memory, the youngest answer gives way and is taken up again later, with the same
dice: its prompt and what it wrote are read anew.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from serving.transformers import metrics
from serving.transformers.runner import Batch, Runner
from serving.transformers.sampler import Sampler
from serving.transformers.sequence import Sequence

T = TypeVar("T")


class Adapters(Protocol):
    """Which weights count in the next step."""

    def activate(self, handle: str) -> None: ...

    def delete(self, handle: str) -> None: ...


class Scheduler:
    """`capacity` is in tokens, of all answers in work together, padding included."""

    def __init__(
        self,
        runner: Runner,
        adapters: Adapters,
        *,
        at_once: int,
        chunk: int,
        capacity: int,
        died: Callable[[BaseException], None],
    ) -> None:
        self._runner = runner
        self._adapters = adapters
        self._at_once = at_once
        self._chunk = chunk
        self._capacity = capacity
        self._died = died
        self._changed = threading.Condition()
        self._waiting: deque[Sequence] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._reading: tuple[Sequence, Batch] | None = None
        self._batches: list[Batch] = []
        self._retired: set[str] = set()

    def start(self) -> None:
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def submit(self, sequence: Sequence) -> None:
        """Told by `sequence.emit` from now on."""
        with self._changed:
            self._waiting.append(sequence)
            self._changed.notify()

    def cancel(self, sequence: Sequence) -> None:
        """Its place is free from the next step on."""
        with self._changed:
            sequence.cancelled = True
            self._changed.notify()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Between two steps, when nobody else uses the model."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001  # it is the caller's
                future.set_exception(error)

        with self._changed:
            self._calls.append(run)
            self._changed.notify()
        return future

    def retire(self, handle: str) -> None:
        """Delete the adapter once no answer needs it any more. Within `call` alone."""
        self._retired.add(handle)
        self._delete_retired()

    def _run(self) -> None:
        try:
            while True:
                self._await_work()
                self._leave_cancelled()
                self._read()
                for batch in list(self._batches):
                    self._write(batch)
                # Not sooner: in the midst of a turn a sequence may be nowhere.
                self._delete_retired()
                self._measure()
        except BaseException as error:  # noqa: BLE001  # the process must not look healthy
            self._died(error)

    def _await_work(self) -> None:
        with self._changed:
            while not (self._waiting or self._calls or self._reading or self._batches):
                self._changed.wait()
            calls, self._calls = self._calls, deque()
        for call in calls:
            call()

    def _leave_cancelled(self) -> None:
        with self._changed:
            gone = [each for each in self._waiting if each.cancelled]
            if gone:
                self._waiting = deque(each for each in self._waiting if not each.cancelled)
        if self._reading is not None and self._reading[0].cancelled:
            gone.append(self._reading[0])
            self._reading = None
        for batch in list(self._batches):
            leaving = [each for each in batch.sequences if each.cancelled]
            self._remove(batch, leaving)
            gone += leaving
        for sequence in gone:
            self._end(sequence, "abort")

    def _read(self) -> None:
        """A piece of the next prompt; whole where the model cannot read in pieces."""
        if self._reading is None and (chosen := self._next()) is not None:
            chosen.begun = chosen.begun or time.monotonic()
            chosen.read = 0
            batch = self._runner.empty()
            batch.sequences = [chosen]
            self._reading = chosen, batch
        if self._reading is None:
            return
        sequence, batch = self._reading
        self._adapters.activate(sequence.adapter)
        piece = sequence.unread(self._chunk if self._runner.chunks else sequence.known)
        try:
            logits = self._runner.step(batch, [piece])
        except (RuntimeError, IndexError) as error:
            self._reading = None
            self._fail([sequence], error)
            return
        sequence.read += len(piece)
        if sequence.read < sequence.known:
            return
        self._reading = None
        if not self._choose(sequence, logits[0]):
            self._place(sequence, batch)

    def _next(self) -> Sequence | None:
        """The first that waits, where there is room for it beside the others."""
        with self._changed:
            if not self._waiting or self._count() >= self._at_once:
                return None
            first = self._waiting[0]
            alone = not self._batches
            if not alone and self._size(first.adapter, first.known + 1) > self._capacity:
                return None
            return self._waiting.popleft()

    def _place(self, sequence: Sequence, batch: Batch) -> None:
        """Into the batch of its adapter, where sequences can share one."""
        for other in self._batches if self._runner.shares else ():
            if other.sequences[0].adapter == sequence.adapter:
                lost = [*other.sequences, sequence]
                self._change(other, functools.partial(other.join, batch), lost)
                return
        self._batches.append(batch)

    def _write(self, batch: Batch) -> None:
        """One token for each of the batch."""
        self._make_room(batch)
        if not batch.sequences:
            return
        self._adapters.activate(batch.sequences[0].adapter)
        try:
            logits = self._runner.step(batch, [each.answered[-1:] for each in batch.sequences])
        except (RuntimeError, IndexError) as error:
            self._batches.remove(batch)
            self._fail(batch.sequences, error)
            return
        for sequence in batch.sequences:
            sequence.read += 1
        pairs = zip(batch.sequences, logits, strict=True)
        self._remove(batch, [each for each, row in pairs if self._choose(each, row)])

    def _make_room(self, batch: Batch) -> None:
        """For one more token of each; the youngest answer of all gives way, but never the last."""
        while self._size() + len(batch.sequences) > self._capacity and self._count() > 1:
            running = [(each.asked, each, of) for of in self._batches for each in of.sequences]
            if len(running) < 2:
                return
            _, sequence, of = max(running, key=lambda found: found[0])
            self._remove(of, [sequence])
            with self._changed:
                self._waiting.appendleft(sequence)
            metrics.PREEMPTIONS.inc()
            if of is batch and not batch.sequences:
                return

    def _choose(self, sequence: Sequence, logits: Any) -> bool:
        """The next token; whether the answer ends with it."""
        try:
            if sequence.sampler is None:
                sequence.sampler = Sampler(sequence.sampling, sequence.prompt, logits.device)
            choice = sequence.sampler.choose(logits)
            metrics.token(sequence, time.monotonic())
            reason = sequence.take(choice)
        except Exception as error:  # noqa: BLE001  # one request's rules or text, not the others'
            self._fail([sequence], error)
            return True
        if reason:
            self._end(sequence, reason)
        return bool(reason)

    def _end(self, sequence: Sequence, reason: str, error: str = "") -> None:
        metrics.ended(sequence, reason)
        sequence.end(reason, error)

    def _fail(self, sequences: list[Sequence], error: Exception) -> None:
        """The step is lost, and those who took it; the others go on where the device does."""
        if not self._runner.survives(error):
            raise error
        words = " ".join(str(error).split())
        print(f"serving.transformers: a step failed: {words}", flush=True)
        for sequence in sequences:
            self._end(sequence, "error", words)

    def _remove(self, batch: Batch, leaving: list[Sequence]) -> None:
        staying = [each for each in batch.sequences if each not in leaving]
        if not leaving:
            return
        if staying:
            self._change(batch, functools.partial(batch.keep, staying), staying)
        else:
            batch.sequences = []
            self._batches.remove(batch)

    def _change(self, batch: Batch, change: Callable[[], None], lost: list[Sequence]) -> None:
        """Of who is in it. Where memory lacks for that, the cache is neither the old nor the new
        one, and nobody can go on from it."""
        try:
            change()
        except RuntimeError as error:
            self._batches.remove(batch)
            batch.sequences = []
            self._fail(lost, error)

    def _delete_retired(self) -> None:
        if not self._retired:
            return
        used = {each.adapter for batch in self._batches for each in batch.sequences}
        with self._changed:
            used |= {each.adapter for each in self._waiting}
        if self._reading is not None:
            used.add(self._reading[0].adapter)
        for handle in self._retired - used:
            self._adapters.delete(handle)
            self._retired.remove(handle)

    def _count(self) -> int:
        return sum(len(batch.sequences) for batch in self._batches) + bool(self._reading)

    def _size(self, adapter: str = "", joining: int = 0) -> int:
        """Tokens in all caches, with one more sequence of so many."""
        sizes = [(batch, batch.width, len(batch.sequences)) for batch in self._batches]
        total = sum(width * count for _, width, count in sizes)
        if self._reading is not None:
            total += self._reading[0].known
        if not joining:
            return total
        for batch, width, count in sizes:
            if self._runner.shares and batch.sequences[0].adapter == adapter:
                return total - width * count + max(width, joining) * (count + 1)
        return total + joining

    def _measure(self) -> None:
        metrics.RUNNING.set(self._count())
        metrics.WAITING.set(len(self._waiting))
        metrics.CACHE.set(min(1.0, self._size() / self._capacity))
