"""Webhook and CLI ask the same question; here is the answer to AdmissionReview requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from apis.gpu import GPU
from apis.kaito import admission, messages
from apis.kaito.defaults import default
from apis.kaito.validation import Facts
from apis.kaito.validation.facts import Layout
from kube.reviews import AdmissionRequest

FACTS = Facts(
    cloud="azure",
    preset_known=lambda name: name == "phi-4",
    instance_type=lambda name: GPU(1, "A100", 80) if name.startswith("Standard_") else None,
)


def workspace(**fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "ws"},
        "resource": {"instanceType": "Standard_X", "labelSelector": {}},
        "inference": {"preset": {"name": "phi-4"}},
        **fields,
    }


def request(
    new: dict[str, Any], old: dict[str, Any] | None = None, subresource: str = ""
) -> AdmissionRequest:
    return AdmissionRequest(
        uid="u",
        operation="UPDATE" if old else "CREATE",
        subresource=subresource,
        object=new,
        old_object=old or {},
    )


def test_a_good_workspace_is_allowed() -> None:
    assert admission.validate(request(workspace()), FACTS).allowed


def test_a_refusal_names_every_field() -> None:
    bad = workspace(resource={"instanceType": "big", "labelSelector": {}}, inference={})
    answer = admission.validate(request(bad), FACTS)
    assert not answer.allowed
    assert answer.message.splitlines() == [
        'resource.instanceType: "big" is no instance type of cloud "azure"',
        f"inference.preset: {messages.ONE_SOURCE}",
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param(
            {"resources": {}}, 'resources: unknown field; did you mean "resource"?', id="root"
        ),
        pytest.param({"spec": {"resource": {}}}, f"spec: {messages.AT_ROOT}", id="both forms"),
        pytest.param(
            {"inference": {"preset": {"name": "phi-4", "nane": "x"}}},
            'inference.preset.nane: unknown field; did you mean "name"?',
            id="nested",
        ),
        pytest.param(
            {"inference": {"adapters": [{"source": {"volume": {}}}]}},
            "inference.adapters[0].source.volume: unknown field; did you mean",
            id="the docs' volume",
        ),
        pytest.param(
            {"metadata": {"name": "ws", "annotations": {"a": True}}},
            "metadata.annotations[a]: must be a string, not true (quote it",
            id="unquoted",
        ),
        pytest.param(
            {"metadata": {"name": "ws", "creationTimestamp": "yesterday"}}, "metadata", id="time"
        ),
        pytest.param(
            {"apiVersion": "kaito.sh/v1"},
            '"kaito.sh/v1" is none of kaito.sh/v1alpha1, kaito.sh/v1beta1',
            id="version",
        ),
    ],
)
def test_what_the_schema_does_not_have_is_refused(fields: dict[str, Any], said: str) -> None:
    assert said in admission.validate(request(workspace(**fields)), FACTS).message


def test_pod_templates_are_not_looked_into() -> None:
    template = {"spec": {"containers": [{"name": "a", "futureField": 1}]}}
    assert admission.validate(request(workspace(inference={"template": template})), FACTS).allowed


BROKEN = workspace(inference={"preset": {"name": "gone"}})


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(request(BROKEN, workspace(), "status"), id="status is ours"),
        pytest.param(
            request(
                {**BROKEN, "metadata": {"name": "ws", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
                BROKEN,
            ),
            id="finalizers of what is going",
        ),
        pytest.param(request(workspace(odd=1), workspace(odd=1)), id="stored with an old field"),
        pytest.param(
            AdmissionRequest(uid="u", operation="DELETE", object={}, old_object=BROKEN), id="delete"
        ),
    ],
)
def test_what_is_invalid_can_still_be_reported_on_and_removed(asked: AdmissionRequest) -> None:
    """Upstream's incident: after an upgrade workspaces could neither be edited nor deleted."""
    assert admission.validate(asked, FACTS).allowed


def test_an_update_is_judged_by_what_changed() -> None:
    new = workspace(inference={"preset": {"name": "o/other"}})
    answer = admission.validate(request(new, workspace()), FACTS)
    assert answer.message == f"inference.preset: {messages.KEPT}"


def test_the_early_form_is_lifted() -> None:
    early = workspace()
    spec = {key: early.pop(key) for key in ("resource", "inference")}
    early["spec"] = spec
    assert default(early) == workspace()
    patch = admission.mutate(request(early)).patch
    assert {(each["op"], each["path"]) for each in patch} == {
        ("remove", "/spec"),
        ("add", "/resource"),
        ("add", "/inference"),
    }
    assert admission.validate(request(default(early)), FACTS).allowed


def test_the_early_form_can_be_applied_again() -> None:
    stored = workspace(resource={"instanceType": "Standard_X", "labelSelector": {}, "count": 1})
    again = {**stored, "spec": {"resource": {"labelSelector": {"matchLabels": {"a": "b"}}}}}
    meant = default(again, old=stored)
    assert meant == {
        **stored,
        "resource": {
            "instanceType": "Standard_X",
            "labelSelector": {"matchLabels": {"a": "b"}},
            "count": 1,
        },
    }
    patch = admission.mutate(request(again, stored)).patch
    assert {"op": "remove", "path": "/spec"} in patch


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(workspace(), id="nothing to do"),
        pytest.param(workspace(spec={"resource": {}}), id="both forms"),
        pytest.param({"kind": "Workspace", "spec": {"other": 1}}, id="foreign spec"),
        pytest.param({"kind": "NodeClaim", "spec": {"resource": {}}}, id="another kind"),
    ],
)
def test_what_is_not_the_early_form_stays(manifest: dict[str, Any]) -> None:
    assert default(manifest) == manifest
    assert admission.mutate(request(manifest)).patch == ()


def test_v1alpha1_has_an_instance_type_always() -> None:
    old = workspace(apiVersion="kaito.sh/v1alpha1", resource={"labelSelector": {}})
    assert default(old)["resource"]["instanceType"] == "Standard_NC24ads_A100_v4"
    given = workspace(apiVersion="kaito.sh/v1alpha1")
    assert default(given) == given


def test_nodes_of_ones_own_have_no_instance_type_in_v1alpha1_either() -> None:
    old = workspace(apiVersion="kaito.sh/v1alpha1", resource={"labelSelector": {}})
    assert admission.mutate(request(old), byo=True).patch == ()
    assert admission.mutate(request(old)).patch != ()


LAID_OUT = replace(FACTS, layout=lambda *_: Layout(2, "the preset is laid out on 2 nodes"))


def test_a_count_without_effect_is_warned_of_once() -> None:
    said = "resource.count: 1 is not looked at: the preset is laid out on 2 nodes, and so many are"
    answer = admission.validate(request(workspace()), LAID_OUT)
    assert answer.allowed
    assert [each.startswith(said) for each in answer.warnings] == [True]
    assert admission.validate(request(workspace(), workspace()), LAID_OUT).warnings == ()


def test_what_is_refused_is_not_remarked_on() -> None:
    broken = workspace(inference={})
    assert admission.validate(request(broken), LAID_OUT).warnings == ()


def test_a_reserved_key_among_others_is_warned_of() -> None:
    """W-C10: upstream drops it without a word."""
    wanted = {"matchLabels": {"kaito.sh/workspace": "a", "apps": "b"}}
    given = workspace(resource={"instanceType": "Standard_X", "labelSelector": wanted})
    (said,) = admission.validate(request(given), FACTS).warnings
    assert said.startswith("resource.labelSelector: kaito.sh/workspace is not looked at")
