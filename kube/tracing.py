"""Traces: what a round did, as spans that another controller's spans can join. Needs no SDK.

Each round of a controller is a span; the API writes and cloud calls in it are its children, and
what was waited for is told afterwards, with the timestamps of the objects. A round joins the trace
that its object names (kube.origin); an object without one has a trace for each generation, made
from its uid, so that all its rounds are found in one place, whichever replica ran them.

Rounds that changed nothing are dropped: a controller looks at everything again and again, and a
trace of that would hide what happened. Without a sink, which is the usual case, nothing is kept.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from kube import log
from kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from kube.meta import ObjectMeta
from kube.origin import Origin
from kube.redaction import redacted

_SAMPLED = 1

EXPECTED = (ConflictError, AlreadyExistsError, NotFoundError)
"""Answers of the API server that are none the worse for being refusals; of a round it is the
conflict alone: somebody else wrote in between, and it is repeated."""


@dataclass(slots=True)
class Span:
    """One thing that was done, or waited for. Times are nanoseconds of the wall clock."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    start: int
    end: int = 0
    attributes: dict[str, str | int | float] = field(default_factory=dict)
    error: str = ""
    calls_out: bool = False
    """Whether somebody else did the work: the API server, a cloud."""
    sampled: bool = True

    @property
    def trace_parent(self) -> str:
        """W3C's header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{_SAMPLED * self.sampled:02x}"

    def failed(self, error: Exception, expected: tuple[type[Exception], ...]) -> None:
        self.attributes["error.type"] = type(error).__name__
        if not isinstance(error, expected):
            self.error = redacted(log.summary(error))


class Sink(Protocol):
    """Where spans go. Never raises, never waits."""

    def export(self, spans: Sequence[Span], /) -> None: ...


@dataclass(frozen=True, slots=True)
class _Tracer:
    sink: Sink
    ratio: float


@dataclass(slots=True)
class _Round:
    """A span, those within it that ended, and whose trace they are in."""

    span: Span
    parent_id: int | None
    ended: list[Span] = field(default_factory=list)
    matters: bool = False


_tracer: ContextVar[_Tracer | None] = ContextVar("tracer", default=None)
_round: ContextVar[_Round | None] = ContextVar("round", default=None)
_current: ContextVar[Span | None] = ContextVar("span", default=None)


def export_to(sink: Sink, ratio: float = 1.0) -> None:
    """Trace all that this task starts from now on; of objects without a trace, as many as `ratio`
    says. A trace that somebody else began is followed as he decided."""
    _tracer.set(_Tracer(sink, ratio))


def trace_parent(metadata: ObjectMeta) -> str:
    """The current span as others may join it, or not if it is not sampled. Where nobody traces
    here: what the object was given, which is passed on."""
    current = _current.get()
    return current.trace_parent if current is not None else Origin.of(metadata).trace_parent


@contextmanager
def reconcile(controller: str, metadata: ObjectMeta | None = None) -> Iterator[None]:
    """A round, of that object; what fails in it must come through here."""
    tracer = _tracer.get()
    if tracer is None:
        yield
        return
    span = _root(tracer.ratio, controller, metadata)
    this = _Round(span, span.parent_id)
    tokens = _round.set(this if span.sampled else None), _current.set(span)
    try:
        with log.context(**({log.TRACE_ID: f"{span.trace_id:032x}"} if span.sampled else {})):
            yield
    except Exception as error:
        span.failed(error, (ConflictError,))
        raise
    finally:
        _round.reset(tokens[0])
        _current.reset(tokens[1])
        span.end = time.time_ns()
        if span.sampled and (this.matters or span.error):
            tracer.sink.export([*this.ended, span])


@contextmanager
def call(
    name: str,
    attributes: Mapping[str, str | int | float],
    *,
    matters: bool,
    expected: tuple[type[Exception], ...] = EXPECTED,
) -> Iterator[None]:
    """Somebody else is asked within a round. `matters`: something changes by it, so that the round
    is worth telling. `expected` are refusals that are no failure. Outside of rounds this is
    nothing."""
    this, parent = _round.get(), _current.get()
    if this is None or parent is None:
        yield
        return
    span = Span(
        name,
        parent.trace_id,
        _random(64),
        parent.span_id,
        time.time_ns(),
        attributes=dict(attributes),
        calls_out=True,
    )
    token = _current.set(span)
    try:
        yield
    except Exception as error:
        span.failed(error, expected)
        raise
    finally:
        _current.reset(token)
        span.end = time.time_ns()
        this.ended.append(span)
        this.matters |= matters


def waited(
    name: str,
    start: datetime | None,
    end: datetime,
    attributes: Mapping[str, str | int | float] | None = None,
) -> None:
    """What took from `start` to `end`, told by the round that saw it end. It stands beside that
    round: the wait was longer than it. The caller sees to it that nobody tells it twice."""
    this = _round.get()
    if this is None or start is None:
        return
    told = {**this.span.attributes, **(attributes or {})}
    began = min(_nanoseconds(start), _nanoseconds(end))
    span = Span(name, this.span.trace_id, _random(64), this.parent_id, began, attributes=told)
    span.end = _nanoseconds(end)
    this.ended.append(span)
    this.matters = True


def _root(ratio: float, controller: str, metadata: ObjectMeta | None) -> Span:
    given = Origin.of(metadata).trace_parent if metadata is not None else ""
    parent_id = None
    if given:
        _, trace, span, flags = given.split("-")
        trace_id, parent_id = int(trace, 16), int(span, 16)
        sampled = bool(int(flags, 16) & _SAMPLED)
    else:
        trace_id = _random(128) if metadata is None or not metadata.uid else _trace_of(metadata)
        sampled = trace_id & (2**64 - 1) < ratio * 2**64
    attributes: dict[str, str | int | float] = {"controller": controller}
    attributes |= {k: v for k, v in log.fields().items() if k != "controller"}
    return Span(
        f"reconcile {controller}",
        trace_id,
        _random(64),
        parent_id,
        time.time_ns(),
        attributes=attributes,
        sampled=sampled,
    )


def _trace_of(metadata: ObjectMeta) -> int:
    """A uid alone is not evenly spread, and sampling is by the lower half."""
    digest = hashlib.sha256(f"{metadata.uid}/{metadata.generation}".encode()).digest()
    return int.from_bytes(digest[:16], "big") or 1


def _random(bits: int) -> int:
    return random.getrandbits(bits) or 1


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1e6) * 1000
