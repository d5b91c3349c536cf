"""What lists and watches give. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from kube.store import Object
from kube.wire import EventType

T = TypeVar("T")
O_co = TypeVar("O_co", bound=Object, covariant=True)


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One consistent state of a collection, and where a watch goes on from it."""

    items: list[T]
    resource_version: str


class WatchEvent(NamedTuple, Generic[O_co]):
    """One change. `object` is None for a BOOKMARK, which only moves `resource_version`."""

    type: EventType
    object: O_co | None
    resource_version: str
