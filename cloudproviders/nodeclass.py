"""Node classes: a cloud's own objects that say from what machines are made. Pure.

A class counts as ready when all conditions that its cloud gives it are True. What has become of a
class since a machine was made from it is found by comparing hashes (static drift).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kube.meta import Condition, ObjectMeta, Status


class NodeClassBody(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The part of a class's status that every cloud has."""

    conditions: tuple[Condition, ...] = ()


class NodeClass(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Any cloud's class: its spec is read by its own provider alone."""

    metadata: ObjectMeta = ObjectMeta()
    spec: dict[str, Any] = {}
    status: NodeClassBody = NodeClassBody()


@dataclass(frozen=True, slots=True)
class NodeClassCondition:
    """One of the conditions that feed the class's Ready (`SubnetsReady` …)."""

    type: str
    status: Status
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClassStatus:
    """What a cloud found out about a class. `fields` are merged into its status (`subnets` …).

    `hash` is that of the fields whose change makes machines drift; "" where none does.
    """

    conditions: Sequence[NodeClassCondition] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""

    @property
    def ready(self) -> bool:
        return all(each.status == "True" for each in self.conditions)


READY = NodeClassStatus()
"""Of a class that nothing has to be found out about."""


def static_hash(spec: Mapping[str, Any], *, without: Sequence[str] = ()) -> str:
    """Of the spec's fields, less those that are compared with the cloud itself (selectors).

    Ours, not Karpenter's: a hash is only ever compared with one of the same version.
    """
    kept = {name: value for name, value in spec.items() if name not in without}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
