"""Whose a field is: by what the API server says of its owners."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from apis.kaito.v1beta1.status import ForeignEdit
from kube.apply import with_applied_hash
from kube.managedfields import FieldOwner
from kube.meta import Condition, Manifest
from workspace_controller.plan import Event
from workspace_controller.workspace import foreignedits
from workspace_controller.workspace.children import Child, as_edited, editable, settle
from workspace_controller.workspace.fieldowners import FIELD_MANAGER

DESIRED: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {
        "name": "falcon",
        "namespace": "default",
        "labels": {"kaito.sh/workspace": "falcon"},
    },
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "falcon",
                        "image": "base:1",
                        "args": ["--port", "5000"],
                        "env": [{"name": "A", "value": "1"}],
                    }
                ],
                "volumes": [{"name": "weights", "emptyDir": {}}],
            }
        },
    },
}
CONTAINERS = "f:containers"
FALCON = 'k:{"name":"falcon"}'


def in_container(fields: dict[str, Any]) -> dict[str, Any]:
    return {"f:spec": {"f:template": {"f:spec": {CONTAINERS: {FALCON: fields}}}}}


def container(manifest: Manifest) -> Manifest:
    found: Manifest = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


def owner(
    manager: str, fields: dict[str, Any], operation: str = "Update", subresource: str = ""
) -> Manifest:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "fieldsV1": fields,
        "subresource": subresource,
    }


def live(*owners: Manifest, applied: Manifest = DESIRED, **changes: Any) -> Child:
    """What is there after `applied`; `changes` are fields of the container, or spec.replicas."""
    found = copy.deepcopy(with_applied_hash(applied))
    ours = {"f:serviceName": {}} if "replicas" in changes else {"f:replicas": {}}
    owners = (owner(FIELD_MANAGER, {"f:spec": ours}, "Apply"), *owners)
    if "replicas" in changes:
        found["spec"]["replicas"] = changes.pop("replicas")
    for key, value in changes.items():
        container(found)[key] = value
        if value is None:
            del container(found)[key]
    found["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": owners}
    return msgspec.json.decode(msgspec.json.encode(found), type=Child)


def test_what_is_missing_is_applied_whole() -> None:
    settled = settle(DESIRED, None)
    assert settled.apply == with_applied_hash(DESIRED)
    assert settled.effective == DESIRED
    assert settled.edits == ()


def test_at_rest_nothing_is_written() -> None:
    settled = settle(DESIRED, live())
    assert settled == as_edited(DESIRED, live())
    assert (settled.apply, settled.change, settled.edits) == (None, None, ())
    assert settled.effective == DESIRED


@pytest.mark.parametrize(
    ("manager", "operation", "subresource", "is_hand"),
    [
        ("kubectl-edit", "Update", "", True),
        ("kubectl", "Apply", "", True),
        ("kubectl", "Update", "scale", True),
        ("argocd-controller", "Apply", "", True),
        ("kube-controller-manager", "Update", "scale", False),
        ("kubelet", "Update", "", False),
        ("azure-cloud-controller-manager", "Update", "", False),
        ("manager", "Update", "", False),
        ("before-first-apply", "Update", "", False),
        (FIELD_MANAGER, "Update", "", False),
    ],
)
def test_who_is_a_hand(manager: str, operation: str, subresource: str, is_hand: bool) -> None:
    holds = owner(manager, {"f:spec": {"f:replicas": {}}}, operation, subresource)
    settled = settle(DESIRED, live(holds, replicas=5))
    fields = [edit.fields for edit in settled.edits]
    assert fields == ([("spec.replicas",)] if is_hand else [])
    assert settled.effective["spec"]["replicas"] == (5 if is_hand else 2)
    assert as_edited(DESIRED, live(holds, replicas=5)).effective == settled.effective


def test_an_edit_is_left_out_of_what_is_applied_and_laid_over_what_will_be() -> None:
    edited = live(owner("kubectl-edit", in_container({"f:args": {}})), args=["--mine"])
    settled = settle(DESIRED, edited)
    assert settled.apply is not None
    assert "args" not in container(settled.apply)
    assert settled.apply["metadata"]["uid"] == "u"
    assert container(settled.effective)["args"] == ["--mine"]
    rest = live(
        owner("kubectl-edit", in_container({"f:args": {}})), applied=settled.apply, args=["--mine"]
    )
    assert settle(DESIRED, rest).apply is None


def test_an_equal_value_is_no_edit() -> None:
    settled = settle(DESIRED, live(owner("kubectl-edit", in_container({"f:args": {}}))))
    assert settled.edits == ()
    assert settled.apply is None


def test_an_update_that_once_agreed_gives_way_and_a_declaration_does_not() -> None:
    newer = copy.deepcopy(DESIRED)
    newer["spec"]["replicas"] = 3
    fields = {"f:spec": {"f:replicas": {}}}
    settled = settle(newer, live(owner("kubectl-scale", fields)))
    assert settled.edits == ()
    assert settled.apply is None
    assert settled.change is not None
    managers = [each["manager"] for each in settled.change.patch["metadata"]["managedFields"]]
    assert managers == [FIELD_MANAGER]
    assert settled.change.patch["metadata"]["resourceVersion"] == "7"
    declared = settle(newer, live(owner("kubectl", fields, "Apply")))
    assert [edit.manager for edit in declared.edits] == ["kubectl"]
    assert declared.change is None


def test_what_the_go_controller_owns_is_inherited_before_anything_is_applied() -> None:
    """So that what it set and we do not set goes with our next apply."""
    theirs = owner("manager", in_container({"f:livenessProbe": {"f:exec": {"f:command": {}}}}))
    settled = settle({**DESIRED, "spec": {"replicas": 3}}, live(theirs))
    assert settled.apply is None
    assert settled.change is not None
    (heir,) = settled.change.patch["metadata"]["managedFields"]
    assert (heir["manager"], heir["operation"]) == (FIELD_MANAGER, "Apply")
    inherited = msgspec.convert(heir, FieldOwner).paths
    probe = ("f:livenessProbe", "f:exec", "f:command")
    assert ("f:spec", "f:template", "f:spec", CONTAINERS, FALCON, *probe) in inherited
    assert ("f:spec", "f:replicas") in inherited


def test_an_addition_is_kept_and_named_by_its_topmost_part() -> None:
    extra = {"name": "B", "value": "2"}
    fields = {"f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}}
    env = [{"name": "A", "value": "1"}, extra]
    settled = settle(DESIRED, live(owner("kubectl-set", in_container(fields)), env=env))
    assert settled.apply is None
    assert container(settled.effective)["env"] == env
    assert settled.edits == (
        ForeignEdit(
            object="StatefulSet/falcon",
            manager="kubectl-set",
            fields=("spec.template.spec.containers[name=falcon].env[name=B]",),
        ),
    )


def test_another_source_of_a_value_takes_the_place_of_ours() -> None:
    """The API server takes one of them, and would refuse both together."""
    source = {"fieldRef": {"fieldPath": "metadata.name"}}
    env = [{"name": "A", "valueFrom": source}]
    fields = {"f:env": {'k:{"name":"A"}': {"f:valueFrom": {"f:fieldRef": {}}}}}
    newer = copy.deepcopy(DESIRED)
    newer["spec"]["replicas"] = 3
    for desired in (DESIRED, newer):
        settled = settle(desired, live(owner("kubectl-edit", in_container(fields)), env=env))
        assert settled.apply is not None
        assert container(settled.apply)["env"] == [{"name": "A"}]
        assert container(settled.effective)["env"] == env
        (edit,) = settled.edits
        assert edit.fields == ("spec.template.spec.containers[name=falcon].env[name=A].valueFrom",)


def test_what_was_taken_out_is_noted_and_left_out_while_the_note_is_there() -> None:
    first = settle(DESIRED, live(args=None))
    assert first.apply is not None
    assert "args" not in container(first.apply)
    assert "args" not in container(first.effective)
    (edit,) = first.edits
    assert edit.manager == "unknown"
    assert edit.fields == ("spec.template.spec.containers[name=falcon].args (removed)",)
    again = settle(DESIRED, live(applied=first.apply))
    assert (again.apply, again.edits) == (None, first.edits)
    assert as_edited(DESIRED, live(applied=first.apply)) == again
    forgotten = live(applied=first.apply)
    forgotten.metadata.annotations.pop("kaito.sh/removed-by-hand")
    assert settle(DESIRED, forgotten).apply == with_applied_hash(DESIRED)


def test_what_we_have_not_applied_yet_was_not_taken_out() -> None:
    more = copy.deepcopy(DESIRED)
    container(more)["command"] = ["serve"]
    assert settle(more, live()).apply == with_applied_hash(more)


_TO_CONTAINERS = '"f:spec","f:template","f:spec","f:containers"'


@pytest.mark.parametrize(
    "note",
    [
        "{",
        "7",
        '[["f:spec"], 3]',
        '"x"',
        "[[]]",
        "[[{}]]",
        *(f'[[{_TO_CONTAINERS},"{step}"]]' for step in ("x", "k:", "k:{", "k:7", "i:0")),
    ],
)
def test_a_note_that_we_cannot_have_written_says_nothing(note: str) -> None:
    odd = live()
    odd.metadata.annotations["kaito.sh/removed-by-hand"] = note
    assert settle(DESIRED, odd).edits == ()


def test_scaled_to_nothing_has_no_owner_and_is_an_edit_all_the_same() -> None:
    settled = settle(DESIRED, live(replicas=0))
    assert [edit.fields for edit in settled.edits] == [("spec.replicas",)]
    assert settled.effective["spec"]["replicas"] == 0
    assert settled.apply is not None
    assert "replicas" not in settled.apply["spec"]


@pytest.mark.parametrize(
    "fields",
    [
        {"f:metadata": {"f:labels": {"f:kaito.sh/workspace": {}}}},
        {"f:metadata": {"f:annotations": {"f:kaito.sh/applied-hash": {}}}},
    ],
)
def test_what_identifies_a_child_is_taken_back(fields: dict[str, Any]) -> None:
    edited = live(owner("kubectl-label", fields))
    edited.metadata.labels["kaito.sh/workspace"] = "other"
    edited.metadata.annotations["kaito.sh/applied-hash"] = "other"
    settled = settle(DESIRED, edited)
    assert settled.edits == ()
    assert settled.change is not None


def test_owners_are_kept_only_where_others_are_among_them() -> None:
    status = owner("kube-controller-manager", {"f:status": {}}, subresource="status")
    assert live(status).metadata.managed_fields == ()
    both = live(status, owner("kubectl", {"f:spec": {"f:replicas": {}}}, subresource="scale"))
    assert len(both.metadata.managed_fields) == 3


def test_only_children_that_users_edit_are_editable() -> None:
    assert editable(DESIRED) is not None
    assert editable({"kind": "NodePool"}) is None


EDIT = ForeignEdit(
    object="Service/falcon", manager="kubectl-patch", fields=("spec.a", "spec.b", "spec.c", "d")
)


def test_the_condition_says_what_is_edited_and_how_to_take_it_back() -> None:
    ready = Condition(type="InferenceReady", status="True", message="deployed")
    assert foreignedits.noted(ready, ()) == ready
    assert foreignedits.noted(ready, (EDIT,)).message == (
        "deployed; edited by hand: Service/falcon spec.a spec.b spec.c and 1 more (kubectl-patch); "
        "kept until set back, or until kubectl delete service falcon brings ours back"
    )


def test_an_edit_is_an_event_once() -> None:
    (said,) = foreignedits.events((), (EDIT,))
    assert (said.type, said.reason) == ("Normal", "EditedByHand")
    assert foreignedits.events((EDIT,), (EDIT,)) == ()
    assert foreignedits.events((EDIT,), ()) == (
        Event("Normal", "EditsTakenBack", "nothing is edited by hand any more"),
    )
