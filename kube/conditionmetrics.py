"""Conditions of objects as metrics, under the names of Karpenter's operator library
(`operator_status_condition_*`, `operator_termination_*`): how long an object has been in a state,
and how long objects usually are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kube.clock import Clock
from kube.informer import Informer
from kube.meta import Condition, ObjectMeta
from kube.metrics import REGISTRY

_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 21600, 86400)
_OBJECT = ("group", "kind", "namespace", "name", "nodepool")

TRANSITION_SECONDS = Histogram(
    "operator_status_condition_transition_seconds",
    "How long a condition was in a status before it went to another one; `status` is the old one",
    ["group", "kind", "type", "status"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
TRANSITIONS = Counter(
    "operator_status_condition_transitions",
    "Changes of a condition's status; `status` is the new one",
    ["group", "kind", "type", "status", "reason"],
    registry=REGISTRY,
)
TERMINATION_SECONDS = Histogram(
    "operator_termination_duration_seconds",
    "From the deletion of an object until it was gone",
    ["group", "kind"],
    buckets=_SECONDS,
    registry=REGISTRY,
)


@dataclass(frozen=True)
class Watched:
    """A kind, and how its objects tell of themselves."""

    informer: Informer[Any]
    pool_label: str = ""
    """The label whose value is told as `nodepool`."""
    awaited: tuple[str, ...] = ()
    """Conditions whose first change is waited for: told from the start, with 0, since what begins
    with 1 is no increase to Prometheus."""

    @property
    def names(self) -> tuple[str, str]:
        return self.informer.resource.group, self.informer.resource.kind

    def labels(self, meta: ObjectMeta) -> list[str]:
        return [*self.names, meta.namespace, meta.name, meta.labels.get(self.pool_label, "")]


class ConditionCollector(Collector):
    """The present state of all of them; changes are counted where `leading` says so."""

    def __init__(self, watched: Iterable[Watched], clock: Clock) -> None:
        self._watched = tuple(watched)
        self._clock = clock
        self.leading: Callable[[], bool] = lambda: True
        for kind in self._watched:
            for type_ in kind.awaited:
                TRANSITION_SECONDS.labels(*kind.names, type_, "Unknown")
            kind.informer.subscribe(partial(self._changed, kind))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._clock.now()
        labels = [*_OBJECT, "type", "status", "reason"]
        count = GaugeMetricFamily(
            "operator_status_condition_count", "1 for each condition of an object", labels=labels
        )
        current = GaugeMetricFamily(
            "operator_status_condition_current_status_seconds",
            "How long the condition has been in its status",
            labels=labels,
        )
        ending = GaugeMetricFamily(
            "operator_termination_current_time_seconds",
            "How long ago the object was deleted that is still there",
            labels=_OBJECT,
        )
        for kind in self._watched:
            for item in kind.informer.store.list():
                of = kind.labels(item.metadata)
                for each in item.status.conditions:
                    told = [*of, each.type, each.status, each.reason]
                    count.add_metric(told, 1)
                    if (since := each.last_transition_time) is not None:
                        current.add_metric(told, max(0.0, (now - since).total_seconds()))
                if (deleted := item.metadata.deletion_timestamp) is not None:
                    ending.add_metric(of, max(0.0, (now - deleted).total_seconds()))
        yield from (count, current, ending)

    def _changed(self, kind: Watched, old: Any, new: Any) -> None:
        if old is None or not self.leading():
            return
        if new is None:
            if (deleted := old.metadata.deletion_timestamp) is not None:
                seconds = (self._clock.now() - deleted).total_seconds()
                TERMINATION_SECONDS.labels(*kind.names).observe(max(0.0, seconds))
            return
        was = {each.type: each for each in old.status.conditions}
        born = old.metadata.creation_timestamp
        for each in new.status.conditions:
            before = was.get(each.type)
            if not was:  # what nobody has looked at yet is Unknown since its creation
                before = Condition(type=each.type, status="Unknown", last_transition_time=born)
            if before is not None and before.status != each.status:
                _count(kind, before, each)


def _count(kind: Watched, before: Condition, after: Condition) -> None:
    TRANSITIONS.labels(*kind.names, after.type, after.status, after.reason).inc()
    began, ended = before.last_transition_time, after.last_transition_time
    if began is not None and ended is not None:
        seconds = max(0.0, (ended - began).total_seconds())
        TRANSITION_SECONDS.labels(*kind.names, before.type, before.status).observe(seconds)
