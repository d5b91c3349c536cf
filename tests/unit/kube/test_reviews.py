"""AdmissionReview in, AdmissionReview out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kube import reviews
from kube.reviews import AdmissionResponse, MalformedReviewError


def review(**request: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u1", "operation": "CREATE", "object": {"kind": "X"}, **request},
    }


def test_read() -> None:
    request = reviews.read(
        review(
            name="n",
            namespace="ns",
            subResource="status",
            userInfo={"username": "me"},
            dryRun=True,
            oldObject=None,
        )
    )
    assert (request.uid, request.name, request.namespace) == ("u1", "n", "ns")
    assert (request.subresource, request.user, request.dry_run) == ("status", "me", True)
    assert (request.object, request.old_object) == ({"kind": "X"}, {})
    assert not request.deleting


def test_deleting() -> None:
    going = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert reviews.read(review(object=going)).deleting


@pytest.mark.parametrize(
    "given",
    [
        pytest.param([], id="a list"),
        pytest.param({}, id="nothing"),
        pytest.param({**review(), "apiVersion": "admission.k8s.io/v1beta1"}, id="old version"),
        pytest.param({"apiVersion": "admission.k8s.io/v1"}, id="no request"),
        pytest.param(review(uid=""), id="no uid"),
    ],
)
def test_malformed(given: Any) -> None:
    with pytest.raises(MalformedReviewError):
        reviews.read(given)


def answer(response: AdmissionResponse) -> dict[str, Any]:
    written = reviews.write(reviews.read(review()), response)
    assert written["apiVersion"] == "admission.k8s.io/v1"
    assert written["kind"] == "AdmissionReview"
    found: dict[str, Any] = written["response"]
    return found


def test_answers() -> None:
    assert answer(AdmissionResponse.allow()) == {"uid": "u1", "allowed": True}
    assert answer(AdmissionResponse.allow(warnings=("old",)))["warnings"] == ["old"]
    assert answer(AdmissionResponse.deny("no: because")) == {
        "uid": "u1",
        "allowed": False,
        "status": {"code": 422, "reason": "Invalid", "message": "no: because"},
    }


def test_mutation_is_a_json_patch() -> None:
    before = {"a": 1, "b": {"c/d": 1, "e~": [1], "same": 0}, "gone": 1}
    after = {"a": 2, "b": {"c/d": 2, "e~": [1, 2], "same": 0, "new": {"x": 1}}}
    found = answer(AdmissionResponse.mutate(before, after))
    patch = json.loads(base64.b64decode(found["patch"]))
    assert found["patchType"] == "JSONPatch"
    assert sorted(patch, key=lambda each: str(each["path"])) == [
        {"op": "replace", "path": "/a", "value": 2},
        {"op": "replace", "path": "/b/c~1d", "value": 2},
        {"op": "replace", "path": "/b/e~0", "value": [1, 2]},
        {"op": "add", "path": "/b/new", "value": {"x": 1}},
        {"op": "remove", "path": "/gone"},
    ]


def test_nothing_to_mutate_is_no_patch() -> None:
    assert "patch" not in answer(AdmissionResponse.mutate({"a": 1}, {"a": 1}))
