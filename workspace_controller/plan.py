"""What one round decides: a value that adds up from the steps and is carried out afterwards.

Pure. The reconciler is the only one that acts on it: annotations first (they must be stored
before what they announce can exist), then deletes, creates, applies, changes, and one status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube.meta import Condition, Manifest, Resource
from kube.store import Object
from workspace_controller.errors import UserError

T = TypeVar("T")

Propagation: TypeAlias = Literal["", "Foreground"]
"""Foreground: it stays until what it owns is gone; empty is the API server's default."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """One object to be deleted, by uid: a namesake made meanwhile is not meant."""

    name: str
    uid: str
    resource: Resource[Any] = NODE_CLAIMS
    namespace: str = ""
    propagation: Propagation = ""

    @classmethod
    def of(cls, resource: Resource[Any], found: Object, propagation: Propagation = "") -> Deletion:
        meta = found.metadata
        return cls(meta.name, meta.uid, resource, meta.namespace, propagation)


@dataclass(frozen=True, slots=True)
class Change:
    """A JSON merge patch of an object that somebody else made (a pod's annotation, say)."""

    resource: Resource[Any]
    namespace: str
    name: str
    patch: Manifest


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the Workspace's history: said once, when it happens."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference between what is there and what should be.

    `create` is for kinds whose spec is immutable (NodeClaim, Pod); `apply` for the rest, and only
    where something differs; `create_last` for what nothing else may wait for, not even where it is
    refused. `status` holds fields of WorkspaceStatus by their Python names, beside those that have
    a field of their own here; `usual` is in seconds, by stage. `waits_for` is a reason, or None
    when nothing is waited for; `look_again` is in seconds, None where a watch brings us back.
    """

    annotations: Mapping[str, str] = field(default_factory=dict)
    delete: tuple[Deletion, ...] = ()
    create: tuple[Manifest, ...] = ()
    apply: tuple[Manifest, ...] = ()
    change: tuple[Change, ...] = ()
    create_last: tuple[Manifest, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    events: tuple[Event, ...] = ()
    target_node_count: int | None = None
    worker_nodes: tuple[str, ...] | None = None
    waits_for: str | None = None
    look_again: float | None = None
    blocked: UserError | None = None

    def __add__(self, other: Plan) -> Plan:
        """Both plans; where both speak of one thing, the later has the last word."""
        told = {condition.type for condition in other.conditions}
        kept = tuple(condition for condition in self.conditions if condition.type not in told)
        return Plan(
            annotations={**self.annotations, **other.annotations},
            delete=self.delete + other.delete,
            create=self.create + other.create,
            apply=self.apply + other.apply,
            change=self.change + other.change,
            create_last=self.create_last + other.create_last,
            status={**self.status, **other.status},
            usual={**self.usual, **other.usual},
            conditions=kept + other.conditions,
            events=self.events + other.events,
            target_node_count=_last(self.target_node_count, other.target_node_count),
            worker_nodes=_last(self.worker_nodes, other.worker_nodes),
            waits_for=self.waits_for or other.waits_for,
            look_again=_soonest(self.look_again, other.look_again),
            blocked=other.blocked or self.blocked,
        )

    @staticmethod
    def refused(error: UserError) -> Plan:
        """The end of a plan that only the user can mend."""
        condition = Condition(
            type=error.condition, status="False", reason=error.reason, message=error.message
        )
        return Plan(
            conditions=(condition,),
            waits_for=error.reason,
            look_again=error.look_again,
            blocked=error,
        )


def _last(first: T | None, second: T | None) -> T | None:
    return first if second is None else second


def _soonest(first: float | None, second: float | None) -> float | None:
    known = [seconds for seconds in (first, second) if seconds is not None]
    return min(known, default=None)
