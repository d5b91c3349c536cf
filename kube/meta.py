"""What every Kubernetes object has in common. Pure: no I/O, no event loop.

Foreign kinds are partial msgspec structs (22 microseconds an event where full models take
a millisecond); our own kinds are pydantic models, from which the CRDs are generated. Both
carry the same `ObjectMeta`, so the rest of the code need not know which it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import core_schema

T = TypeVar("T")

Manifest = dict[str, Any]
"""An object as it goes over the wire: partial, so that fields we do not know survive."""

Status = Literal["True", "False", "Unknown"]


class Key(NamedTuple):
    """What identifies an object of one kind; `namespace` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class _Struct(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A wire struct that pydantic models may hold as a field."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: msgspec.convert(value, cls),
            serialization=core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins),
        )


class OwnerReference(_Struct, frozen=True):
    """metav1.OwnerReference."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(_Struct, frozen=True):
    """The part of metav1.ObjectMeta that controllers read; managedFields stay out."""

    name: str = ""
    namespace: str = ""
    generate_name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


class Condition(_Struct, frozen=True):
    """metav1.Condition; `observed_generation` 0 means that nobody said."""

    type: str
    status: Status
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int = 0


def find_condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, or None where it was never set."""
    return next((condition for condition in conditions if condition.type == kind), None)


def with_condition(
    conditions: Iterable[Condition], new: Condition, now: datetime
) -> tuple[Condition, ...]:
    """The list with `new` in it; lastTransitionTime moves only when the status does."""
    kept = list(conditions)
    at = next((i for i, condition in enumerate(kept) if condition.type == new.type), None)
    if at is None:
        return (*kept, msgspec.structs.replace(new, last_transition_time=now))
    old = kept[at]
    since = old.last_transition_time if old.status == new.status else now
    kept[at] = msgspec.structs.replace(new, last_transition_time=since or now)
    return tuple(kept)


@dataclass(frozen=True, slots=False)
class Resource(Generic[T]):
    """One kind as the API server serves it, and the Python type that stands for it here."""

    group: str
    version: str
    kind: str
    plural: str
    type: type[T]
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path, as kube-apiserver lays them out; all namespaces where none is given."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)

    @cached_property
    def decode(self) -> Callable[[bytes | bytearray | memoryview | msgspec.Raw], T]:
        """JSON → object; raises ValueError (pydantic's or msgspec's) where it is no such kind."""
        kind = self.type
        if issubclass(kind, BaseModel):
            validate = kind.model_validate_json
            return lambda raw: validate(bytes(raw))
        return msgspec.json.Decoder(kind).decode
