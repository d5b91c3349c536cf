"""CustomResourceDefinitions from pydantic models.

A CRD takes a *structural* schema: OpenAPI v3 without references, unions or tuples, where every
node has a type. pydantic writes JSON Schema 2020-12. What can be carried over is; the rest is
refused here, by the path of the field, rather than by an API server at install time.

Keywords that JSON Schema does not have stand in a model's `json_schema_extra` or in a field's
marker: everything that starts with `x-kubernetes-`, and `x-crd-default` for a default that the
API server fills in (a default in Python says only how an absent field reads).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from kube.meta import Manifest


class InexpressibleError(ValueError):
    """A model has a shape that no structural schema can say."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path or 'the root'}: {why}")


@dataclass(frozen=True, slots=True)
class Column:
    """What `kubectl get` shows; priority 1 only with `-o wide`."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0

    def manifest(self) -> Manifest:
        shown: Manifest = {"name": self.name, "type": self.type, "jsonPath": self.json_path}
        return {**shown, "priority": self.priority} if self.priority else shown


AGE = Column("Age", ".metadata.creationTimestamp", "date")


def condition_column(name: str, condition: str = "", priority: int = 0) -> Column:
    """The status of a condition; its type is the column's name where not said otherwise."""
    path = f'.status.conditions[?(@.type=="{condition or name}")].status'
    return Column(name, path, priority=priority)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a kind; exactly one of a kind is stored."""

    name: str
    model: type[BaseModel]
    columns: tuple[Column, ...] = ()
    storage: bool = True
    scale: Mapping[str, str] = field(default_factory=dict)
    """Paths of the scale subresource, as the CRD names them (`specReplicasPath` …)."""
    deprecation: str = ""
    """What the API server warns whoever uses this version of; empty where it is not deprecated."""

    def manifest(self) -> Manifest:
        subresources: Manifest = {"status": {}}
        if self.scale:
            subresources["scale"] = dict(self.scale)
        deprecated: Manifest = {"deprecated": True, "deprecationWarning": self.deprecation}
        return {
            **(deprecated if self.deprecation else {}),
            "name": self.name,
            "served": True,
            "storage": self.storage,
            "additionalPrinterColumns": [column.manifest() for column in self.columns],
            "schema": {"openAPIV3Schema": structural_schema(self.model)},
            "subresources": subresources,
        }


@dataclass(frozen=True, slots=True)
class Definition:
    """A kind as the API server is to serve it."""

    group: str
    kind: str
    plural: str
    versions: tuple[Version, ...]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.plural}.{self.group}"

    def manifest(self) -> Manifest:
        names: Manifest = {
            "kind": self.kind,
            "listKind": f"{self.kind}List",
            "plural": self.plural,
            "singular": self.kind.lower(),
        }
        if self.short_names:
            names["shortNames"] = list(self.short_names)
        if self.categories:
            names["categories"] = list(self.categories)
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name},
            "spec": {
                "group": self.group,
                "names": names,
                "scope": "Namespaced" if self.namespaced else "Cluster",
                "versions": [version.manifest() for version in self.versions],
            },
        }


def structural_schema(model: type[BaseModel]) -> Manifest:
    """The openAPIV3Schema of the model; raises InexpressibleError, naming the field."""
    whole = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(whole.pop("$defs", {})).convert(whole, "", ())


_COPIED = frozenset(
    {"type", "format", "description", "enum", "pattern", "nullable", "required", "multipleOf"}
    | {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}
    | {"minProperties", "maxProperties"}
)
_DROPPED = frozenset({"title", "default", "examples", "discriminator"})
_HANDLED = frozenset(
    {"properties", "items", "additionalProperties", "exclusiveMinimum", "exclusiveMaximum", "const"}
)


class _Converter:
    def __init__(self, definitions: Mapping[str, Manifest]) -> None:
        self._definitions = definitions

    def convert(self, given: Manifest, path: str, within: tuple[str, ...]) -> Manifest:
        """One node; `within` are the models around it, since none may contain itself."""
        given, within = self._resolved(given, path, within)
        schema = {key: given[key] for key in given if key in _COPIED or self._extension(key)}
        self._refuse_unknown(given, path)
        if "x-crd-default" in schema:
            schema["default"] = schema.pop("x-crd-default")
        if "const" in given:
            schema["enum"] = [given["const"]]
        for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if bound in given:
                schema |= {limit: given[bound], bound: True}
        if schema.get("x-kubernetes-int-or-string"):
            schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
            return schema
        if "type" not in schema:
            raise InexpressibleError(path, "it has no type")
        self._convert_object(schema, given, path, within)
        self._convert_list(schema, given, path, within)
        return schema

    def _convert_object(
        self, schema: Manifest, given: Manifest, path: str, within: tuple[str, ...]
    ) -> None:
        properties = given.get("properties")
        if properties is not None:
            schema["properties"] = {
                name: self.convert(below, f"{path}.{name}".lstrip("."), within)
                for name, below in properties.items()
            }
        others = given.get("additionalProperties", False)
        if others is True:
            schema["x-kubernetes-preserve-unknown-fields"] = True
        elif isinstance(others, dict):
            if properties:
                raise InexpressibleError(path, "it has both named and free properties")
            schema["additionalProperties"] = self.convert(others, f"{path}[*]", within)

    def _convert_list(
        self, schema: Manifest, given: Manifest, path: str, within: tuple[str, ...]
    ) -> None:
        if schema["type"] != "array":
            return
        if "items" not in given:
            raise InexpressibleError(path, "it is a list of nobody says what")
        schema["items"] = self.convert(given["items"], f"{path}[]", within)
        if schema.get("x-kubernetes-list-type") != "map":
            return
        required = set(schema["items"].get("required", ()))
        if not required.issuperset(schema.get("x-kubernetes-list-map-keys") or [""]):
            raise InexpressibleError(path, "it is a map by keys that its items need not have")

    def _resolved(
        self, given: Manifest, path: str, within: tuple[str, ...]
    ) -> tuple[Manifest, tuple[str, ...]]:
        """References inlined, `X | None` taken as X, a union of one as that one."""
        while True:
            siblings = dict(given)
            if "$ref" in siblings:
                name = str(siblings.pop("$ref")).removeprefix("#/$defs/")
                if name in within:
                    raise InexpressibleError(path, f"{name} contains itself")
                given, within = {**self._definitions[name], **siblings}, (*within, name)
                continue
            union = next((key for key in ("anyOf", "oneOf", "allOf") if key in siblings), "")
            if not union or siblings.get("x-kubernetes-int-or-string"):
                siblings.pop("anyOf", None)
                return siblings, within
            one = self._only_branch(siblings.pop(union), path)
            given = {**one, **siblings}

    @staticmethod
    def _only_branch(branches: list[Manifest], path: str) -> Manifest:
        real = [branch for branch in branches if branch.get("type") != "null"]
        if len(real) == 1:
            return real[0]
        if {branch.get("type") for branch in real} == {"integer", "string"}:
            return {"x-kubernetes-int-or-string": True}
        raise InexpressibleError(path, f"it is a union of {len(real)} shapes")

    @staticmethod
    def _extension(key: str) -> bool:
        return key.startswith(("x-kubernetes-", "x-crd-default"))

    def _refuse_unknown(self, given: Manifest, path: str) -> None:
        for key in given:
            known = key in _COPIED or key in _DROPPED or key in _HANDLED or self._extension(key)
            if not known:
                raise InexpressibleError(path, f"a structural schema has no {key!r}")
        if given.get("x-kubernetes-validations") is not None:
            self._refuse_bad_rules(given["x-kubernetes-validations"], path)

    @staticmethod
    def _refuse_bad_rules(given: Any, path: str) -> None:
        for rule in given:
            if not rule.get("rule") or not rule.get("message"):
                raise InexpressibleError(path, "a CEL rule needs a rule and a message")
