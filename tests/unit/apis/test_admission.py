"""Webhook and CLI ask the same question; here is the answer to AdmissionReview requests."""

from __future__ import annotations

from typing import Any

import pytest

from apis.gpu import GPU
from apis.kaito import admission, messages, schema
from apis.kaito.defaults import default
from apis.kaito.validation import Facts
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
        "inference.preset: exactly one of preset and template must be set, but neither is",
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
        pytest.param(
            {"apiVersion": "kaito.sh/v1alpha1", "resource": {"labelSelector": {}, "partition": {}}},
            "resource.partition: unknown field",
            id="v1alpha1 has no partition",
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
    assert answer.message == f"inference.preset: {messages.PRESET_KEPT}"


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
    meant = default(again, stored=True)
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


def test_crd_and_webhook_use_the_same_words() -> None:
    cel = [
        rule["message"]
        for part in (schema.WORKSPACE, schema.INFERENCE, schema.COUNT, schema.PARTITION)
        for rule in part["x-kubernetes-validations"]
    ]
    assert messages.ONE_WORKLOAD in cel
    assert messages.ONE_SOURCE in cel
    assert messages.COUNT_KEPT in cel
    neither = workspace()
    del neither["inference"]
    assert messages.ONE_WORKLOAD in admission.validate(request(neither), FACTS).message
