"""What we apply and others edit: their edits stay, and ours go round them. Pure.

A user of KAITO adds `--load_in_4bit` with `kubectl edit` and means it. So a child is applied
without force, and what a person has set otherwise is left out of what we apply, until the person
takes it back: by setting it to what we would, by giving the field up, or by deleting the child.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from apis.kaito.v1beta1.status import ForeignEdit
from kube import objects
from kube.apply import bound_to, holds, says_all, was_applied, with_applied_hash
from kube.managedfields import (
    ABSENT,
    FieldOwner,
    OwnedMeta,
    Path,
    readable,
    replaced,
    value_at,
)
from kube.meta import Manifest, Resource
from kube.objects import Unstructured, manifest_of
from workspace_controller.plan import Change, Plan
from workspace_controller.workspace import fieldowners, removals

_HANDLERS = frozenset({"exec", "httpGet", "tcpSocket", "grpc"})
_ENV_SOURCES = frozenset({"value", "valueFrom"})
_EDITABLE: Mapping[str, Resource[Any]] = {
    each.kind: each for each in (objects.STATEFUL_SETS, objects.DEPLOYMENTS, objects.SERVICES)
}


class Child(Unstructured, frozen=True, kw_only=True):
    """A child as the caches hold it: whole, and with the owners of its fields where somebody else
    is among them. Most have only us, and thousands of them are kept."""

    metadata: OwnedMeta = OwnedMeta()

    def __post_init__(self) -> None:
        holders = self.metadata.managed_fields
        if all(fieldowners.is_us(each) or each.subresource == "status" for each in holders):
            msgspec.structs.force_setattr(self.metadata, "managed_fields", ())


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of a child.

    `apply` is None where nothing is to be written. `effective` is what will be there as far as
    anybody has asked for it: ours, with others' edits laid over it. `change` comes before `apply`,
    in a round of its own: it gives us fields that are ours to set and that another name holds.
    """

    apply: Manifest | None
    effective: Manifest
    edits: tuple[ForeignEdit, ...] = ()
    change: Change | None = None

    @property
    def plan(self) -> Plan:
        """What is to be written."""
        return Plan(
            apply=() if self.apply is None else (self.apply,),
            change=() if self.change is None else (self.change,),
        )


def settle(desired: Manifest, live: Unstructured | None) -> Settled:
    """What to apply of `desired`, given what is there and who has set it."""
    if live is None:
        return Settled(apply=with_applied_hash(desired), effective=desired)
    there = manifest_of(live, _EDITABLE[desired["kind"]])
    judged = _judge(desired, live, there)
    wanted = judged.manifest(there)
    if was_applied(wanted, there):
        if says_all(there, wanted):
            return judged.settled(there, None)
        if fresh := removals.fresh(wanted, there):
            judged = replace(judged, removed=(*judged.removed, *fresh))
            wanted = judged.manifest(there)
    applied = with_applied_hash(wanted)
    freed = fieldowners.freed(applied, there, fieldowners.of(live))
    if freed is not None:
        return replace(judged.settled(there, None), change=_change(desired, live, freed))
    return judged.settled(there, applied)


def as_edited(desired: Manifest, live: Unstructured | None) -> Settled:
    """What will be there, with whose edits; what to write is left open."""
    if live is None:
        return Settled(apply=None, effective=desired)
    if not fieldowners.of(live) and removals.REMOVED_ANNOTATION not in live.metadata.annotations:
        return Settled(apply=None, effective=desired)
    there = manifest_of(live, _EDITABLE[desired["kind"]])
    return _judge(desired, live, there).settled(there, None)


def _judge(desired: Manifest, live: Unstructured, there: Manifest) -> _Judged:
    judged = _Judged(desired=desired, ours=desired, effective=desired)
    holders = fieldowners.of(live)
    for owner in filter(fieldowners.is_hand, holders):
        judged = _leave(judged, owner, fieldowners.set_by_us(holders), there)
    return replace(judged, removed=removals.known(judged.ours, there))


def editable(child: Manifest) -> Resource[Any] | None:
    """The kind of a child that users edit; None where hands have no business."""
    return _EDITABLE.get(child["kind"])


@dataclass(frozen=True, slots=True)
class _Judged:
    """How far the desired state is ours: without what hands hold, and what they have removed."""

    desired: Manifest
    ours: Manifest
    effective: Manifest
    edits: tuple[tuple[str, Path], ...] = ()
    removed: tuple[Path, ...] = ()

    def left_out(self, path: Path) -> _Judged:
        return replace(self, ours=replaced(self.ours, path, ABSENT))

    def with_value(self, path: Path, value: Any) -> _Judged:
        return replace(self, effective=replaced(self.effective, path, value))

    def with_edit(self, manager: str, path: Path) -> _Judged:
        return replace(self, edits=(*self.edits, (manager, path)))

    def manifest(self, there: Manifest) -> Manifest:
        """What we say of it. Deleted meanwhile, the child must come back whole, and not as what
        is left here."""
        bound = self.ours if self.ours is self.desired else bound_to(self.ours, there)
        return removals.left_out(bound, self.removed, there)

    def settled(self, there: Manifest, apply: Manifest | None) -> Settled:
        effective = self.effective
        for path in self.removed:
            effective = replaced(effective, path, value_at(there, path))
        return Settled(apply, effective, _edits(there, self.edits, self.removed))


def _leave(judged: _Judged, owner: FieldOwner, ours: frozenset[Path], there: Manifest) -> _Judged:
    """Leave to `owner` what it holds."""
    desired = judged.desired
    for path in sorted(owner.paths):
        set_to, wanted = value_at(there, path), value_at(desired, path)
        if (
            fieldowners.is_always_ours(path)
            or fieldowners.has_agreed(owner, path, ours)
            or set_to is ABSENT
        ):
            continue
        if wanted is ABSENT:
            judged = judged.with_value(path, set_to)
            for other in _displaced(path, desired, there):
                judged = judged.left_out(other).with_value(other, ABSENT)
            if "f:annotations" not in path:
                judged = judged.with_edit(owner.manager, _topmost_missing(path, desired))
        elif wanted != set_to:
            judged = judged.left_out(path).with_value(path, set_to)
            if not holds(set_to, wanted):
                judged = judged.with_edit(owner.manager, path)
    return judged


def _displaced(path: Path, desired: Manifest, there: Manifest) -> Iterator[Path]:
    """What we would set beside the path, where the API server allows only one of them."""
    missing = _topmost_missing(path, desired)
    parent, name = missing[:-1], missing[-1].removeprefix("f:")
    beside = value_at(desired, parent)
    if not isinstance(beside, dict):
        return
    rivals = set(beside) - {"name"} if parent[-2:-1] == ("f:volumes",) else set()
    for kind in (_HANDLERS, _ENV_SOURCES):
        rivals |= kind - {name} if name in kind else set()
    for rival in sorted(rivals & set(beside)):
        if value_at(there, (*parent, f"f:{rival}")) is ABSENT:
            yield (*parent, f"f:{rival}")


def _topmost_missing(path: Path, desired: Manifest) -> Path:
    for length in range(1, len(path)):
        if value_at(desired, path[:length]) is ABSENT:
            return path[:length]
    return path


def _edits(
    there: Manifest, found: Iterable[tuple[str, Path]], removed: Iterable[Path]
) -> tuple[ForeignEdit, ...]:
    """One for each manager; who removed something, the API server does not keep."""
    fields: dict[str, set[str]] = {}
    for manager, path in found:
        fields.setdefault(manager, set()).add(readable(path))
    for path in removed:
        gone = " (removed)" if value_at(there, path) is ABSENT else ""
        fields.setdefault("unknown", set()).add(f"{readable(path)}{gone}")
    name = f"{there['kind']}/{there['metadata']['name']}"
    return tuple(
        ForeignEdit(object=name, manager=manager, fields=tuple(sorted(fields[manager])))
        for manager in sorted(fields)
    )


def _change(desired: Manifest, live: Unstructured, holders: Iterable[FieldOwner]) -> Change:
    meta = live.metadata
    entries = [owner.to_json() for owner in holders]
    patch = {"metadata": {"resourceVersion": meta.resource_version, "managedFields": entries}}
    return Change(_EDITABLE[desired["kind"]], meta.namespace, meta.name, patch)
