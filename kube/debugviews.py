"""The tables of /debug: what is in queues, caches and tasks right now. Looks only, waits never."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePath
from types import CodeType
from typing import Any, Protocol

from kube import log
from kube.clock import Clock
from kube.informer import Informer
from kube.objects import Lease
from kube.workqueue import Content, WorkQueue

Row = Mapping[str, Any]


class _Queued(Protocol):
    """A Runnable with a work queue; not each has one."""

    name: str
    queue: WorkQueue[Any]


@dataclass(frozen=True, slots=True)
class View:
    """A few facts, and tables by name."""

    facts: Row = field(default_factory=dict)
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {**self.facts, **{name: list(rows) for name, rows in self.tables.items()}}

    def as_text(self) -> str:
        parts = [f"{name}: {_cell(value)}" for name, value in self.facts.items()]
        for rows in self.tables.values():
            parts += ["", *_table(rows)] if parts else _table(rows)
        return "\n".join([*parts, ""])


def queues(
    controllers: Iterable[Any], clock: Clock, *, controller: str, object_: str, limit: int
) -> View:
    """Each queue's numbers, and its keys: those that run first, then those that wait, then those
    whose time comes soonest."""
    counted, listed = [], []
    for each in _queued(controllers):
        if controller and each.name != controller:
            continue
        content = each.queue.content()
        rows = [row for row in _keys(each.name, content, clock) if object_ in ("", row["object"])]
        counted.append(
            {
                "controller": each.name,
                "in flight": len(content.running),
                "waiting": len(content.waiting),
                "delayed": len(content.delayed),
                "failing": len(content.failures),
                "shown": min(limit, len(rows)),
            }
        )
        listed += rows[:limit]
    return View(tables={"queues": counted, "items": listed})


def _queued(controllers: Iterable[Any]) -> Iterator[_Queued]:
    for each in controllers:
        if isinstance(getattr(each, "queue", None), WorkQueue):
            yield each


def _keys(name: str, content: Content[Any], clock: Clock) -> list[Row]:
    found = []
    for state, seconds in (
        ("in flight", content.running),
        ("again after", content.again),
        ("waiting", content.waiting),
    ):
        longest = sorted(seconds.items(), key=lambda item: -item[1])
        found += [_row(name, key, state, -age, clock, content) for key, age in longest]
    soonest = sorted(content.delayed.items(), key=lambda item: item[1])
    found += [_row(name, key, "delayed", left, clock, content) for key, left in soonest]
    return found


def _row(
    name: str, key: object, state: str, seconds: float, clock: Clock, content: Content[Any]
) -> Row:
    """`since` a moment, or `due` at one."""
    at = (clock.now() + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    return {
        "controller": name,
        "object": str(key),
        "state": state,
        "since": at if seconds <= 0 else "",
        "due": at if seconds > 0 else "",
        "seconds": round(abs(seconds), 1),
        "failures": content.failures.get(key, 0),
    }


def informers(found: Iterable[Informer[Any]], clock: Clock) -> View:
    """How true the caches are."""
    now = clock.monotonic()
    rows = [
        {
            "kind": informer.resource.kind,
            "group": informer.resource.group,
            "only": informer.scope,
            "objects": len(informer.store),
            "unreadable": len(informer.unreadable),
            "synced": informer.synced.is_set(),
            "served": informer.served,
            "contact s ago": round(now - informer.last_contact, 1),
            "resource version": informer.resource_version,
        }
        for informer in found
    ]
    return View(tables={"informers": rows})


def lease(told: Row, live: Lease | None, clock: Clock) -> View:
    """Who leads, as the API server has it."""
    if live is None:
        return View({**told, "holder": ""})
    spec = live.spec
    facts = {
        "holder": spec.holder_identity,
        "transitions": spec.lease_transitions or 0,
        "seconds": spec.lease_duration_seconds,
        "renewed": spec.renew_time,
    }
    return View({**told, **facts, "now": clock.now().isoformat()})


def levels() -> View:
    """Of the log: the one of all, and of parts that have their own."""
    root = logging.getLogger()
    own = [
        {"logger": name, "level": logging.getLevelName(each.level)}
        for name, each in sorted(root.manager.loggerDict.items())
        if isinstance(each, logging.Logger) and each.level and not log.is_quiet(name)
    ]
    return View({"level": logging.getLevelName(root.level)}, {"loggers": own})


def tasks(found: Iterable[asyncio.Task[Any]]) -> View:
    """Where each stands, from the outside in; those that stand at the same place are one row."""
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for task in found:
        alike[tuple(_stack(task.get_coro()))].append(task.get_name())
    rows = [
        {"tasks": len(names), "names": ", ".join(sorted(names)[:3]), "stack": " > ".join(stack)}
        for stack, names in sorted(alike.items(), key=lambda item: -len(item[1]))
    ]
    return View({"tasks": sum(len(names) for names in alike.values())}, {"stacks": rows})


def _stack(coroutine: Any) -> Iterator[str]:
    """A task's own stack has one frame where it waits; the rest hangs on what it awaits."""
    while coroutine is not None:
        code, line, awaited = _position(coroutine)
        if code is None:
            return
        path = PurePath(code.co_filename)
        yield f"{path.parent.name}/{path.name}:{line} {code.co_name}"
        coroutine = awaited


def _position(waiting: Any) -> tuple[CodeType | None, int, Any]:
    """Of a coroutine, a generator or an asynchronous generator."""
    for prefix, next_ in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
        frame = getattr(waiting, f"{prefix}_frame", None)
        if frame is not None:
            return frame.f_code, frame.f_lineno, getattr(waiting, next_, None)
    return None, 0, None


def _table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["(none)"]
    heads = list(rows[0])
    cells = [[head.upper() for head in heads]]
    cells += [[_cell(row[head]) for head in heads] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(heads))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value not in ("", None) else "-"
