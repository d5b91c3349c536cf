"""What ResourceQuotas of the namespace would say to pods that are still to be made. Pure.

A pod that a quota refuses is a line in the events of its StatefulSet, while its node is up and paid
for. So it is worked out before a node is asked for, as the API server will: requests and limits
with the defaults of LimitRanges, the scopes of each quota, what is used and what is allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kube import quantity
from kube.meta import Manifest
from kube.objects import LimitRange, ResourceQuota, ScopeRequirement

_MUST_BE_SAID = frozenset({"cpu", "memory"})
"""Where a quota counts these, a container that does not say them is refused."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is still to be made: so many pods of a template, and other objects by the names under
    which quotas count them."""

    pod: Manifest
    pods: int
    objects: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lack:
    """Why it cannot be made. `never`: nor could it if nothing else were there."""

    message: str
    never: bool


def lack(
    wanted: Wanted, quotas: Iterable[ResourceQuota], ranges: Iterable[LimitRange]
) -> Lack | None:
    """What the first quota, by name, objects to; None where all of them have room."""
    if wanted.pods <= 0 and not any(wanted.objects.values()):
        return None
    containers = _Containers.of(wanted.pod, tuple(ranges))
    for each in sorted(quotas, key=lambda each: each.metadata.name):
        if not all(_in_scope(scope, wanted.pod, containers) for scope in _scopes(each)):
            continue
        if (found := _judged(each, wanted, containers)) is not None:
            return found
    return None


def _judged(found: ResourceQuota, wanted: Wanted, containers: _Containers) -> Lack | None:
    hard = {**found.spec.hard, **found.status.hard}
    meta = found.metadata
    remedy = f"kubectl -n {meta.namespace} edit resourcequota {meta.name}"
    for resource in sorted(hard):
        kind, name = _part(resource)
        if wanted.pods and name in _MUST_BE_SAID and not containers.all_say(kind, name):
            said = f"it counts {resource}, of which the pods say nothing, so none is admitted"
            return Lack(
                f'ResourceQuota "{meta.name}" of namespace "{meta.namespace}": {said}; give the'
                f" namespace a LimitRange with a default for it, or leave it out: {remedy}",
                never=True,
            )
        needed = _needed(resource, wanted, containers)
        allowed = quantity.parse(hard[resource])
        used = quantity.parse(found.status.used.get(resource, "0"))
        if needed and used + needed > allowed:
            never = needed > allowed
            free = "that can never be" if never else "delete what uses it"
            return Lack(
                f'ResourceQuota "{meta.name}" of namespace "{meta.namespace}": {resource}:'
                f" {quantity.fmt(used)} of {quantity.fmt(allowed)} are used, and"
                f" {quantity.fmt(needed)} more are needed; {free}, or have it raised: {remedy}",
                never=never,
            )
    return None


def _needed(resource: str, wanted: Wanted, containers: _Containers) -> Decimal:
    if resource in ("pods", "count/pods"):
        return Decimal(wanted.pods)
    if resource in wanted.objects:
        return Decimal(wanted.objects[resource])
    kind, name = _part(resource)
    return containers.sum(kind, name) * wanted.pods


def _part(resource: str) -> tuple[str, str]:
    """`limits.cpu` → limits, cpu; a plain `cpu` counts requests."""
    kind, dot, name = resource.partition(".")
    if dot and kind in ("requests", "limits"):
        return kind, name
    return ("requests", resource) if resource in _MUST_BE_SAID else ("", resource)


@dataclass(frozen=True, slots=True)
class _Containers:
    """Requests and limits of a pod's containers, as the API server completes them. `starting` run
    one after the other, before the others."""

    running: tuple[Mapping[str, Mapping[str, Any]], ...]
    starting: tuple[Mapping[str, Mapping[str, Any]], ...]

    @classmethod
    def of(cls, pod: Manifest, ranges: tuple[LimitRange, ...]) -> _Containers:
        first = pod.get("initContainers") or ()
        beside = [each for each in first if each.get("restartPolicy") == "Always"]
        return cls(
            tuple(_completed(each, ranges) for each in (*(pod.get("containers") or ()), *beside)),
            tuple(_completed(each, ranges) for each in first if each not in beside),
        )

    def sum(self, kind: str, name: str) -> Decimal:
        together = sum((_amount(each, kind, name) for each in self.running), Decimal(0))
        return max([together, *(_amount(each, kind, name) for each in self.starting)])

    def all_say(self, kind: str, name: str) -> bool:
        return all(name in (each.get(kind) or {}) for each in (*self.running, *self.starting))

    @property
    def say_nothing(self) -> bool:
        every = (*self.running, *self.starting)
        return not any(each.get(kind) or {} for each in every for kind in ("requests", "limits"))


def _completed(container: Manifest, ranges: Iterable[LimitRange]) -> dict[str, dict[str, Any]]:
    given = container.get("resources") or {}
    limits, requests = dict(given.get("limits") or {}), dict(given.get("requests") or {})
    items = [item for each in ranges for item in each.spec.limits if item.type == "Container"]
    for name, amount in given.get("limits", {}).items():
        requests.setdefault(name, amount)
    for item in items:
        for name, amount in item.default.items():
            limits.setdefault(name, amount)
        for name, amount in {**item.default, **item.default_request}.items():
            requests.setdefault(name, amount)
    return {"limits": limits, "requests": requests}


def _amount(container: Mapping[str, Mapping[str, Any]], kind: str, name: str) -> Decimal:
    return quantity.parse((container.get(kind) or {}).get(name, "0"))


def _scopes(found: ResourceQuota) -> Iterator[ScopeRequirement]:
    for name in found.spec.scopes:
        yield ScopeRequirement(scope_name=name, operator="Exists")
    if found.spec.scope_selector is not None:
        yield from found.spec.scope_selector.match_expressions


def _in_scope(scope: ScopeRequirement, pod: Manifest, containers: _Containers) -> bool:
    """Whether the quota counts such a pod; one that we know nothing of is no reason to refuse."""
    name, ends = scope.scope_name, pod.get("activeDeadlineSeconds") is not None
    if name == "PriorityClass":
        return _is_of_class(scope, pod.get("priorityClassName", ""))
    known = {
        "Terminating": ends,
        "NotTerminating": not ends,
        "BestEffort": containers.say_nothing,
        "NotBestEffort": not containers.say_nothing,
    }
    return known.get(name, False)


def _is_of_class(scope: ScopeRequirement, given: str) -> bool:
    by = Counter(scope.values)
    return {
        "Exists": bool(given),
        "DoesNotExist": not given,
        "In": given in by,
        "NotIn": given not in by,
    }.get(scope.operator, False)
