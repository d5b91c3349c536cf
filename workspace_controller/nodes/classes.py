"""The node classes that NodePools are made from: which there are, and whether they are ready.

They come as data from the chart, so that no cloud's words stand in here. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from apis.errors import did_you_mean
from apis.kaito import grammar
from apis.kaito.v1beta1 import conditions as c
from apis.kaito.v1beta1.labels import (
    BYPASS_RESOURCE_CHECKS_ANNOTATION,
    NODE_CLASS_NAME_ANNOTATION,
)
from apis.karpenter.nodeclasses.disk import disk_gib
from kube.meta import Condition, Resource, find_condition
from kube.objects import Unstructured
from workspace_controller.errors import UserError
from workspace_controller.nodes.asking import NodeOwner, has_known_disk

NOT_READY = "NodeClassNotReady"

_MERE_NAMES = frozenset({("kaito.sh", "KaitoNodeClass")})
"""Kinds of which no object need exist."""


@dataclass(frozen=True, slots=True)
class NodeClass:
    """One class as the chart describes it; `spec` goes to its object as it is."""

    name: str
    default: bool = False
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def disk_gib(self) -> int | None:
        return disk_gib(self.spec)


@dataclass(frozen=True, slots=True)
class NodeClasses:
    """All classes of the installation, of one kind. Exactly one is the default."""

    group: str
    kind: str
    version: str
    resource_name: str
    classes: tuple[NodeClass, ...]

    @property
    def resource(self) -> Resource[Unstructured]:
        plural = self.resource_name
        return Resource(self.group, self.version, self.kind, plural, Unstructured, namespaced=False)

    @property
    def are_objects(self) -> bool:
        return (self.group, self.kind) not in _MERE_NAMES

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.classes)

    @property
    def default(self) -> NodeClass:
        return next(each for each in self.classes if each.default)

    def chosen(self, owner: NodeOwner, disk: int, in_use: str = "") -> NodeClass:
        """The one that the user names; else the one in use, since another would replace all
        nodes; else the default, or the smallest whose disk is large enough for the weights where
        the default's is not. Raises UserError where none will do: the pods would be evicted once
        the disk is full, on nodes that cost money."""
        named = owner.metadata.annotations.get(NODE_CLASS_NAME_ANNOTATION, "")
        if in_use in self.names and named in {"", in_use}:
            return self._named(in_use)
        candidates = (self._named(named),) if named else (self.default, *self._by_disk())
        for each in candidates:
            if (has := each.disk_gib) is None or has >= disk or not _is_known(owner):
                return each
        largest = max(each.disk_gib or 0 for each in candidates)
        raise UserError(
            c.RESOURCE_READY,
            "NodeClassDiskTooSmall",
            f"{self.kind} {candidates[0].name}: the preset needs a disk of {disk} GiB, and "
            f"{'it gives' if named else 'no node class gives more than'} {largest} GiB; add one "
            f"with a larger disk to the chart's nodeClasses, or set the annotation "
            f"{BYPASS_RESOURCE_CHECKS_ANNOTATION}",
        )

    def not_ready(
        self, node_class: NodeClass, seen: Mapping[str, Unstructured] | None
    ) -> Condition | None:
        """Why machines cannot be made from it now, in its own words; None where they can."""
        if not self.are_objects:
            return None
        what = f"{self.kind} {node_class.name}"
        if seen is None:
            return _because(f"the cluster does not know {self.kind} ({self.group}/{self.version})")
        if (found := seen.get(node_class.name)) is None:
            return _because(f"{what} does not exist yet")
        if found.metadata.deletion_timestamp is not None:
            return _because(f"{what} is being deleted")
        said = find_condition(_conditions(found), "Ready")
        if said is None or said.status == "Unknown":
            return _because(f"{what} has not been looked at yet by its provider")
        if said.status == "False":
            return _because(
                f"{what} is not ready: {_details(found) or said.message or said.reason}"
            )
        return None

    def _named(self, name: str) -> NodeClass:
        for each in self.classes:
            if each.name == name:
                return each
        raise UserError(
            c.RESOURCE_READY,
            "InvalidNodeClass",
            f'annotation {NODE_CLASS_NAME_ANNOTATION}: "{name}" is no node class of this '
            f"installation{did_you_mean(name, self.names)}",
        )

    def _by_disk(self) -> list[NodeClass]:
        return sorted(
            (each for each in self.classes if each.disk_gib is not None),
            key=lambda each: (each.disk_gib or 0, each.name),
        )


def parse(text: str) -> tuple[NodeClass, ...]:
    """KARPENTER_NODE_CLASSES: a JSON array of `{name, default, spec}`. ValueError says what is
    wrong with it."""
    try:
        given = json.loads(text) if text.strip() else []
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(given, list) or not given:
        raise ValueError("must be a JSON array with at least one node class")
    classes = tuple(_class(at, each) for at, each in enumerate(given))
    names = [each.name for each in classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"has two node classes of the name {twice[0]!r}")
    if (defaults := sum(each.default for each in classes)) != 1:
        raise ValueError(f"has {defaults} node classes with default true; exactly one is needed")
    return classes


def _class(at: int, given: Any) -> NodeClass:
    if not isinstance(given, dict):
        raise ValueError(f"[{at}] must be an object with a name and a spec")
    name, default, spec = given.get("name"), given.get("default", False), given.get("spec", {})
    if not isinstance(name, str) or not grammar.is_subdomain(name):
        raise ValueError(f"[{at}].name is {name!r}, which is no DNS-1123 subdomain")
    if not isinstance(default, bool):
        raise ValueError(f"[{at}].default is {default!r}; true or false")
    if not isinstance(spec, dict):
        raise ValueError(f"[{at}].spec must be an object")
    if unknown := sorted(given.keys() - {"name", "default", "spec"}):
        raise ValueError(f"[{at}] has the unknown field {unknown[0]!r}")
    return NodeClass(name, default, spec)


def _is_known(owner: NodeOwner) -> bool:
    """Whether the disk is a need and not a guess, and nobody wants it unchecked."""
    bypassed = BYPASS_RESOURCE_CHECKS_ANNOTATION in owner.metadata.annotations
    return has_known_disk(owner) and not bypassed


def _because(message: str) -> Condition:
    return Condition(type=c.NODE_CLAIM_READY, status="False", reason=NOT_READY, message=message)


def _details(found: Unstructured) -> str:
    """What its Ready only sums up."""
    return "; ".join(
        f"{each.reason}: {each.message}"
        for each in _conditions(found)
        if each.status == "False" and each.type != "Ready" and each.message
    )


def _conditions(found: Unstructured) -> list[Condition]:
    given = found.status.get("conditions", [])
    return msgspec.convert(given, list[Condition])
