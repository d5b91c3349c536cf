"""pydantic → structural schema: what is carried over, and what is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, WithJsonSchema

from kube.crd import (
    AGE,
    Column,
    Definition,
    InexpressibleError,
    Version,
    condition_column,
    structural_schema,
)


class Port(BaseModel):
    """A port."""

    number: Annotated[int, Field(gt=0, le=65535)]


class Tree(BaseModel):
    children: tuple[Tree, ...] = ()


def schema_of(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """The schema of one field of that type."""
    model = type(
        "Model",
        (BaseModel,),
        {"__annotations__": {"field": annotation}} | ({} if default is ... else {"field": default}),
    )
    properties: dict[str, Any] = structural_schema(model)["properties"]
    found: dict[str, Any] = properties["field"]
    return found


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        pytest.param(str, {"type": "string"}, id="no title"),
        pytest.param(int | None, {"type": "integer"}, id="optional"),
        pytest.param(
            int | str,
            {
                "x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
            },
            id="int-or-string",
        ),
        pytest.param(
            int | str | None,
            {
                "x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
            },
            id="optional int-or-string",
        ),
        pytest.param(
            Port,
            {
                "type": "object",
                "description": "A port.",
                "required": ["number"],
                "properties": {
                    "number": {
                        "type": "integer",
                        "minimum": 0,
                        "exclusiveMinimum": True,
                        "maximum": 65535,
                    }
                },
            },
            id="reference inlined",
        ),
        pytest.param(
            dict[str, Any],
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            id="free object",
        ),
        pytest.param(
            dict[str, str],
            {"type": "object", "additionalProperties": {"type": "string"}},
            id="map",
        ),
        pytest.param(tuple[str, ...], {"type": "array", "items": {"type": "string"}}, id="list"),
        pytest.param(Literal["a"], {"type": "string", "enum": ["a"]}, id="constant"),
        pytest.param(Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, id="choice"),
        pytest.param(
            Annotated[
                str,
                Field(
                    json_schema_extra={
                        "x-kubernetes-validations": [
                            {"rule": "self != ''", "message": "may not be empty"}
                        ]
                    }
                ),
            ],
            {
                "type": "string",
                "x-kubernetes-validations": [{"rule": "self != ''", "message": "may not be empty"}],
            },
            id="CEL",
        ),
        pytest.param(
            Annotated[Port | None, Field(json_schema_extra={"description": "Mine."})],
            {
                "type": "object",
                "description": "Mine.",
                "required": ["number"],
                "properties": schema_of(Port)["properties"],
            },
            id="a field's own words win",
        ),
    ],
)
def test_carried_over(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


def test_a_default_of_python_is_none_of_the_server() -> None:
    assert schema_of(str, "assumed") == {"type": "string"}
    served = Annotated[str, Field(json_schema_extra={"x-crd-default": "given"})]
    assert schema_of(served, "given") == {"type": "string", "default": "given"}


def listed(items: dict[str, Any]) -> Any:
    return Annotated[
        list[Any],
        WithJsonSchema(
            {
                "type": "array",
                "items": items,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            }
        ),
    ]


def test_list_map_needs_its_keys() -> None:
    keyed = {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}
    assert schema_of(listed(keyed))["x-kubernetes-list-map-keys"] == ["type"]
    with pytest.raises(InexpressibleError, match="field: it is a map by keys"):
        schema_of(listed({**keyed, "required": []}))


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        pytest.param(int | bool, "field: it is a union of 2 shapes", id="union"),
        pytest.param(Port | str, "field: it is a union", id="union with a model"),
        pytest.param(
            tuple[int, str], "field: a structural schema has no 'prefixItems'", id="tuple"
        ),
        pytest.param(Any, "field: it has no type", id="anything"),
        pytest.param(list[Any], r"field\[\]: it has no type", id="list of anything"),
        pytest.param(list, r"field\[\]: it has no type", id="list of what"),
        pytest.param(set[str], "field: a structural schema has no 'uniqueItems'", id="set"),
        pytest.param(Tree, r"field.children\[\]: Tree contains itself", id="recursion"),
        pytest.param(
            Annotated[str, Field(json_schema_extra={"x-kubernetes-validations": [{"rule": "x"}]})],
            "field: a CEL rule needs",
            id="CEL without words",
        ),
        pytest.param(
            Annotated[
                dict[str, str],
                WithJsonSchema(
                    {
                        "type": "object",
                        "properties": {"a": {"type": "string"}},
                        "additionalProperties": {"type": "string"},
                    }
                ),
            ],
            "field: it has both named and free",
            id="named and free",
        ),
    ],
)
def test_refused_by_the_name_of_the_field(annotation: Any, why: str) -> None:
    with pytest.raises(InexpressibleError, match=why):
        schema_of(annotation)


def test_definition() -> None:
    crd = Definition(
        group="example.com",
        kind="Thing",
        plural="things",
        namespaced=False,
        short_names=("th",),
        categories=("all",),
        versions=(
            Version("v1alpha1", Port, storage=False),
            Version(
                "v1",
                Port,
                (condition_column("Ready"), Column("Where", ".spec.where", priority=1), AGE),
                scale={"specReplicasPath": ".spec.replicas"},
            ),
        ),
    ).manifest()
    assert crd["metadata"]["name"] == "things.example.com"
    assert crd["spec"]["scope"] == "Cluster"
    assert crd["spec"]["names"] == {
        "kind": "Thing",
        "listKind": "ThingList",
        "plural": "things",
        "singular": "thing",
        "shortNames": ["th"],
        "categories": ["all"],
    }
    old, new = crd["spec"]["versions"]
    assert (old["storage"], new["storage"], old["served"]) == (False, True, True)
    assert old["subresources"] == {"status": {}}
    assert new["subresources"]["scale"] == {"specReplicasPath": ".spec.replicas"}
    assert new["additionalPrinterColumns"] == [
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        },
        {"name": "Where", "type": "string", "jsonPath": ".spec.where", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
