"""Conditions as metrics: how long they are in their status, and how long they usually are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from kube.clock import Clock
from kube.conditionmetrics import ConditionCollector, Watched
from kube.informer import Informer
from kube.meta import Condition, ObjectMeta
from kube.metrics import REGISTRY
from kube.objects import NODES, Node, NodeStatus
from kube.store import Store
from tests.fakes.clock import FakeClock

NOW = FakeClock().now().astimezone(UTC)


class Told:
    """As much of an informer as a subscriber needs."""

    resource = NODES

    def __init__(self) -> None:
        self.store: Store[Node] = Store()
        self.handlers: list[Any] = []

    def subscribe(self, handler: Any) -> None:
        self.handlers.append(handler)

    def say(self, new: Node | None, old: Node | None = None) -> None:
        if new is not None:
            self.store.put(new)
        for handler in self.handlers:
            handler(old, new)


def node(status: str, since: datetime, *, deleted: datetime | None = None) -> Node:
    up = Condition(type="Ready", status=cast("Any", status), last_transition_time=since)
    meta = ObjectMeta(name="n", labels={"pool": "p"}, deletion_timestamp=deleted)
    return Node(metadata=meta, status=NodeStatus(conditions=(up,)))


def collector(told: Told, *, leading: bool = True) -> ConditionCollector:
    clock = cast("Clock", SimpleNamespace(now=lambda: NOW))
    found = ConditionCollector((Watched(cast("Informer[Any]", told), "pool"),), clock)
    found.leading = lambda: leading
    return found


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"group": "", "kind": "Node", **labels}) or 0.0


def test_how_long_a_condition_has_been_in_its_status():
    told = Told()
    told.say(node("False", NOW - timedelta(seconds=90), deleted=NOW - timedelta(seconds=30)))
    found = {each.name: each for each in collector(told).collect()}
    (current,) = found["operator_status_condition_current_status_seconds"].samples
    assert current.value == 90
    assert (current.labels["status"], current.labels["nodepool"]) == ("False", "p")
    (count,) = found["operator_status_condition_count"].samples
    assert (count.value, count.labels["type"]) == (1, "Ready")
    (ending,) = found["operator_termination_current_time_seconds"].samples
    assert ending.value == 30


def test_a_change_is_counted_with_how_long_it_had_been_so_and_by_the_leader_alone():
    of = {"type": "Ready", "status": "False"}
    name = "operator_status_condition_transition_seconds"
    before, old = value(f"{name}_sum", **of), node("False", NOW - timedelta(seconds=90))
    new = node("True", NOW - timedelta(seconds=30))
    for leading, wanted in ((False, before), (True, before + 60)):
        told = Told()
        collector(told, leading=leading)
        told.say(new, old)
        told.say(new, new)
        assert value(f"{name}_sum", **of) == wanted


def test_the_end_of_an_object_is_counted_from_its_deletion():
    told = Told()
    _kept = collector(told)
    before = value("operator_termination_duration_seconds_sum")
    told.say(None, node("True", NOW, deleted=NOW - timedelta(seconds=45)))
    assert value("operator_termination_duration_seconds_sum") == before + 45
