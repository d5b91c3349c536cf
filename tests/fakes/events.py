"""Where events go in tests: a list."""

from __future__ import annotations

from typing import Any, NamedTuple

from kube.meta import ObjectMeta, Resource


class Told(NamedTuple):
    kind: str
    name: str
    reason: str
    message: str


class Events:
    """`kube.events.Recorder` without a cluster."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def event(
        self, resource: Resource[Any], metadata: ObjectMeta, type_: str, reason: str, message: str
    ) -> None:
        self.told.append(Told(resource.kind, metadata.name, reason, message))

    def reasons(self) -> list[str]:
        return [each.reason for each in self.told]
