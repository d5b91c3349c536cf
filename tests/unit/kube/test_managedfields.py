from typing import Any

import msgspec
import pytest

from kube.managedfields import ABSENT, FieldOwner, OwnedMeta, Path, readable, replaced, value_at

CONTAINER: Path = ("f:spec", "f:containers", 'k:{"name":"falcon"}')
OBJECT: dict[str, Any] = {
    "metadata": {"labels": {"kaito.sh/workspace": "falcon"}, "finalizers": ["a/b"]},
    "spec": {
        "containers": [
            {"name": "other"},
            {
                "name": "falcon",
                "args": ["--port"],
                "ports": [{"containerPort": 5000}],
            },
        ]
    },
}


@pytest.mark.parametrize(
    ("path", "value", "spelled"),
    [
        ((*CONTAINER, "f:args"), ["--port"], "spec.containers[name=falcon].args"),
        (
            (*CONTAINER, "f:ports", 'k:{"containerPort":5000,"protocol":"TCP"}', "f:containerPort"),
            5000,
            "spec.containers[name=falcon].ports[containerPort=5000,protocol=TCP].containerPort",
        ),
        (
            ("f:metadata", "f:labels", "f:kaito.sh/workspace"),
            "falcon",
            "metadata.labels[kaito.sh/workspace]",
        ),
        (("f:metadata", "f:finalizers", 'v:"a/b"'), "a/b", "metadata.finalizers[a/b]"),
        (("f:spec", "f:containers", "i:0", "f:name"), "other", "spec.containers[0].name"),
        (("f:spec", "f:containers", "i:7"), ABSENT, "spec.containers[7]"),
        ((*CONTAINER, "f:args", "f:deeper"), ABSENT, "spec.containers[name=falcon].args.deeper"),
        (("f:status", "f:replicas"), ABSENT, "status.replicas"),
    ],
)
def test_paths_lead_to_values_and_are_readable(path: Path, value: Any, spelled: str) -> None:
    assert value_at(OBJECT, path) == value
    assert readable(path) == spelled


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ((*CONTAINER, "f:args"), ["--new"]),
        ((*CONTAINER, "f:env", 'k:{"name":"A"}', "f:value"), "1"),
        (("f:metadata", "f:finalizers", 'v:"c/d"'), "c/d"),
        (("f:spec", "f:nodeSelector", "f:a"), "b"),
    ],
)
def test_a_value_is_put_in_and_taken_out_of_a_copy(path: Path, new: Any) -> None:
    before = msgspec.json.encode(OBJECT)
    changed = replaced(OBJECT, path, new)
    assert value_at(changed, path) == new
    assert value_at(replaced(changed, path, ABSENT), path) is ABSENT
    assert msgspec.json.encode(OBJECT) == before


def test_an_item_that_is_made_has_its_keys() -> None:
    made = replaced({}, ("f:env", 'k:{"name":"A"}', "f:value"), "1")
    assert made == {"env": [{"name": "A", "value": "1"}]}


def test_an_entry_is_read_from_the_wire_and_written_as_it_was() -> None:
    entry = {
        "manager": "kubectl-edit",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": "2026-11-21T12:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {".": {}, "f:a": {}}}},
        "subresource": "scale",
    }
    decode = msgspec.json.Decoder(OwnedMeta).decode
    (owner,) = decode(msgspec.json.encode({"name": "a", "managedFields": [entry]})).managed_fields
    assert owner.to_json() == entry
    assert owner.paths == {("f:spec", "f:replicas"), ("f:spec", "f:template", "f:a")}


def owning(fields: dict[str, Any]) -> FieldOwner:
    return FieldOwner(manager="m", operation="Update", fields_v1=fields)


def test_an_entry_loses_fields_and_what_is_empty_then() -> None:
    owner = owning({"f:spec": {"f:a": {"f:b": {}}, "f:c": {}}})
    left = owner.without([("f:spec", "f:a", "f:b")])
    assert left is not None
    assert left.fields_v1 == {"f:spec": {"f:c": {}}}
    assert left.without([("f:spec", "f:c")]) is None
    assert owner.paths == {("f:spec", "f:a", "f:b"), ("f:spec", "f:c")}


def test_an_entry_inherits_another() -> None:
    heir = owning({"f:a": {"f:b": {}}}).joined(owning({"f:a": {"f:c": {}}, "f:d": {}}))
    assert heir.paths == {("f:a", "f:b"), ("f:a", "f:c"), ("f:d",)}
