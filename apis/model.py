"""The base of our own kinds: frozen pydantic models in the JSON spelling of the API.

Models parse leniently (unknown fields are dropped, value rules are not enforced), for a
controller must be able to read whatever the API server has stored, under whichever CRD. The
rules stand in the schema (`Schema`), from which the CRDs are generated and which
`kube.schema` checks without a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from kube.meta import Condition, Manifest, ObjectMeta, find_condition


@dataclass(frozen=True, slots=True)
class Schema:
    """Schema keywords for a field or for the items of a list, as an `Annotated` marker.

    `default` is a default that the API server fills in. A default in Python alone only says how
    an absent field reads.
    """

    keywords: dict[str, Any]
    default: Any = None

    def __hash__(self) -> int:
        return id(self)

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = {**handler(core), **self.keywords}
        if self.default is not None:
            schema["x-crd-default"] = self.default
        return schema


class Rule(NamedTuple):
    """A CEL rule, what is said where it is broken, and of which field below (`.name`).

    A rule `on_creation` reads `oldSelf` as an optional, and is asked while there is none too.
    """

    rule: str
    message: str
    field: str = ""
    on_creation: bool = False

    def to_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {"rule": self.rule, "message": self.message}
        if self.field:
            said["fieldPath"] = self.field
        if self.on_creation:
            said["optionalOldSelf"] = True
        return said


def rules(*given: tuple[str, str] | Rule) -> dict[str, Any]:
    """CEL rules, the plain ones as (rule, message), for `Schema` or `json_schema_extra`."""
    return {"x-kubernetes-validations": [Rule(*each).to_json() for each in given]}


def _condition_to_json(condition: Condition) -> Manifest:
    """With `reason` and `message` even where empty: KAITO's CRD requires both."""
    return {"reason": "", "message": "", **msgspec.to_builtins(condition)}


ConditionField = Annotated[Condition, PlainSerializer(_condition_to_json)]
"""A condition as a field; each kind adds the schema that its CRD has for it."""

Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": (
                r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
                r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
            ),
        }
    ),
]
"""resource.Quantity: a number or text as `80Gi`; kept as text, `kube.quantity` reads it."""


class ApiModel(BaseModel):
    """A part of an object."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_attribute_docstrings=True,
        ser_json_inf_nan="null",
    )

    def to_json(self) -> Manifest:
        """As it goes over the wire: what was set, and nothing that was merely assumed."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


class ApiObject(ApiModel):
    """A whole object. Each kind gives `api_version` and `kind` their defaults."""

    api_version: str = ""
    kind: str = ""
    metadata: Annotated[ObjectMeta, WithJsonSchema({"type": "object"})] = Field(
        default_factory=ObjectMeta
    )

    @property
    def deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    def manifest(self) -> Manifest:
        return {"apiVersion": self.api_version, "kind": self.kind, **self.to_json()}


def condition_or_unknown(conditions: tuple[Condition, ...], kind: str) -> Condition:
    """The condition of that type; Unknown, AwaitingReconciliation where it was never set."""
    return find_condition(conditions, kind) or Condition(
        type=kind,
        status="Unknown",
        reason="AwaitingReconciliation",
        message="object is awaiting reconciliation",
    )
