"""An object against a structural schema, without an API server."""

from __future__ import annotations

from typing import Any

import pytest

from kube.schema import violations

QUANTITY = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": "^[0-9]+(Gi)?$",
}
SPEC = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]+$"},
        "count": {"type": "integer", "minimum": 1, "maximum": 3},
        "share": {"type": "number"},
        "on": {"type": "boolean"},
        "mode": {"type": "string", "enum": ["mig", "whole"]},
        "maybe": {"type": "string", "nullable": True},
        "memory": QUANTITY,
        "names": {"type": "array", "maxItems": 2, "items": {"type": "string"}},
        "labels": {
            "type": "object",
            "maxProperties": 1,
            "additionalProperties": {"type": "string"},
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": SPEC,
    },
}


def said(spec: Any, metadata: Any = None) -> list[str]:
    manifest = {"apiVersion": "v1", "kind": "X", "metadata": metadata or {}, "spec": spec}
    return [f"{each.path}: {each.message}" for each in violations(manifest, SCHEMA)]


def test_a_good_object() -> None:
    good = {
        "name": "abc",
        "count": 3,
        "share": 1,
        "on": True,
        "mode": "mig",
        "maybe": None,
        "memory": "8Gi",
        "names": ["a"],
        "labels": {"a": "b"},
        "free": {"anything": [1]},
    }
    assert said(good, {"name": "x", "uid": "u", "managedFields": [{}]}) == []
    assert said({"name": "abc", "memory": 8}) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param([], "spec: must be an object, not a list", id="type"),
        pytest.param({}, "spec.name: must be set", id="required"),
        pytest.param({"name": None}, "spec.name: must be a string, not empty", id="null"),
        pytest.param({"name": ""}, "spec.name: must not be empty", id="empty"),
        pytest.param({"name": "abcdef"}, "spec.name: has 6 characters, more than 5", id="long"),
        pytest.param({"name": "A"}, 'spec.name: "A" does not match ^[a-z]+$', id="pattern"),
        pytest.param({"name": "a\n"}, "does not match", id="a newline is no end"),
        pytest.param({"name": "a", "count": 0}, "spec.count: 0 is less than 1", id="minimum"),
        pytest.param({"name": "a", "count": 4}, "spec.count: 4 is more than 3", id="maximum"),
        pytest.param({"name": "a", "count": True}, "not true (quote it", id="no integer"),
        pytest.param({"name": "a", "count": 1.5}, "must be an integer, not 1.5", id="fraction"),
        pytest.param({"name": "a", "share": "1"}, 'must be a number, not "1"', id="number"),
        pytest.param({"name": "a", "on": "yes"}, 'must be a boolean, not "yes"', id="boolean"),
        pytest.param(
            {"name": "a", "mode": "x"}, 'spec.mode: "x" is not one of "mig" or "whole"', id="enum"
        ),
        pytest.param({"name": "a", "memory": "8Ti"}, "spec.memory:", id="quantity"),
        pytest.param(
            {"name": "a", "memory": []}, "an integer or string, not a list", id="no union"
        ),
        pytest.param({"name": "a", "names": [1]}, "spec.names[0]: must be a string", id="item"),
        pytest.param({"name": "a", "names": ["a"] * 3}, "has 3 items, more than 2", id="items"),
        pytest.param({"name": "a", "labels": {"k": 1}}, "spec.labels[k]: must be", id="value"),
        pytest.param(
            {"name": "a", "labels": {"k": "", "l": ""}}, "has 2 entries, more than 1", id="entries"
        ),
        pytest.param(
            {"name": "a", "cuont": 1},
            'spec.cuont: unknown field; did you mean "count"?',
            id="unknown",
        ),
        pytest.param({"name": "a", "zzz": 1}, "spec.zzz: unknown field", id="unlike any"),
    ],
)
def test_refused(spec: Any, message: str) -> None:
    assert any(message in each for each in said(spec))


def test_metadata_is_known_though_crds_do_not_describe_it() -> None:
    assert said({"name": "a"}, {"labels": {"a": True}}) == [
        "metadata.labels[a]: must be a string, not true (quote it to make it a string)"
    ]
