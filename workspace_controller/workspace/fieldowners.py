"""Whose fields are whose: ours, an earlier controller's, a machine's, or a person's. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kube.managedfields import ABSENT, FieldOwner, OwnedMeta, Path, value_at
from kube.meta import Manifest
from kube.objects import Unstructured

FIELD_MANAGER = "kaito-workspace-controller"
"""Under which the API server knows what we set."""

_PREDECESSORS = frozenset({"manager", "before-first-apply"})
"""Upstream's program, which lets the API server name it by its file (`/manager`), and what the API
server calls all earlier writers of an object that nobody had applied yet."""

_MACHINERY = frozenset({"kube-controller-manager", "kube-scheduler", "kube-apiserver", "kubelet"})
_CLOUD_CONTROLLER = "cloud-controller-manager"
_OUR_KEYS = ("f:kaito.sh/", "f:workspace.kaito.io/")


def of(live: Unstructured) -> tuple[FieldOwner, ...]:
    return live.metadata.managed_fields if isinstance(live.metadata, OwnedMeta) else ()


def is_hand(owner: FieldOwner) -> bool:
    """Whether this is a person, or a tool of one: whoever is not known to be anything else."""
    return (
        owner.manager != FIELD_MANAGER
        and owner.manager not in _PREDECESSORS | _MACHINERY
        and not owner.manager.endswith(_CLOUD_CONTROLLER)
        and owner.subresource != "status"
    )


def is_always_ours(path: Path) -> bool:
    """What identifies the child, and what we note on it, is for nobody's hands."""
    return path[0] == "f:metadata" or any(step.startswith(_OUR_KEYS) for step in path)


def is_us(owner: FieldOwner) -> bool:
    """Whether this is the entry that our applies keep."""
    return owner.manager == FIELD_MANAGER and owner.operation == "Apply"


def set_by_us(holders: Iterable[FieldOwner]) -> frozenset[Path]:
    """What we own, alone or with others who have set the same."""
    return frozenset().union(*(owner.paths for owner in holders if is_us(owner)))


def has_agreed(owner: FieldOwner, path: Path, ours: frozenset[Path]) -> bool:
    """Whether it once set what we set: an edit that was taken back. Who declares a field, by
    Apply, goes on wanting it."""
    return owner.operation == "Update" and path in ours


def freed(
    applied: Manifest, there: Manifest, holders: tuple[FieldOwner, ...]
) -> tuple[FieldOwner, ...] | None:
    """The owners, without those that stand in our way and are nobody's hands: all of upstream's
    becomes ours (so that what we do not set goes), of the others what we set differently. None
    where the way is free."""
    ours = set_by_us(holders)
    inherited = tuple(owner for owner in holders if _is_inherited(owner))
    kept: list[FieldOwner] = []
    for owner in holders:
        lost = () if is_us(owner) else _lost(owner, ours, applied, there)
        held = owner.without(lost) if lost else owner
        if held is not None and owner not in inherited:
            kept.append(held)
    if inherited:
        return _with_heir(inherited, kept)
    return None if tuple(kept) == holders else tuple(kept)


def _with_heir(
    inherited: tuple[FieldOwner, ...], others: Iterable[FieldOwner]
) -> tuple[FieldOwner, ...]:
    mine = next((each for each in others if is_us(each)), None)
    heir = mine or msgspec.structs.replace(
        inherited[0], manager=FIELD_MANAGER, operation="Apply", fields_v1={}
    )
    for owner in inherited:
        heir = heir.joined(owner)
    return (*(each for each in others if each is not mine), heir)


def _is_inherited(owner: FieldOwner) -> bool:
    """Upstream's; or ours in another way than by apply, which the API server tells apart."""
    named = owner.manager in _PREDECESSORS or owner.manager == FIELD_MANAGER
    return named and not is_us(owner) and not owner.subresource


def _lost(
    owner: FieldOwner, ours: frozenset[Path], applied: Manifest, there: Manifest
) -> tuple[Path, ...]:
    """What it holds and we set otherwise, or have set before it agreed and set no more."""
    return tuple(
        path
        for path in owner.paths
        if (wanted := value_at(applied, path)) != value_at(there, path)
        and (wanted is not ABSENT or (is_hand(owner) and has_agreed(owner, path, ours)))
    )
