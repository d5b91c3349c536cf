"""A volume in the forms of both versions: none is lost, and none contradicts the other."""

from __future__ import annotations

from typing import Any

import pytest

from apis.kaito import admission
from apis.kaito.defaults import default
from apis.kaito.v1beta1.ragengine import StorageSpec
from kube.meta import Manifest
from kube.reviews import AdmissionRequest

A, B, C = ({"persistentVolumeClaim": name} for name in "abc")
AT = {**A, "mountPath": "/mnt/x"}


def engine(version: str, storage: Any) -> Manifest:
    return {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "RAGEngine",
        "metadata": {"name": "rag"},
        "spec": {"storage": storage, "embedding": {"local": {"modelID": "a/b"}}},
    }


def stored(version: str, new: Any, old: Any = None) -> Any:
    before = None if old is None else engine(version, old)
    return default(engine(version, new), old=before)["spec"]["storage"]


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param(AT, {**AT, "persistentVolume": AT}, id="flat"),
        pytest.param({"persistentVolume": AT}, {"persistentVolume": AT}, id="nested"),
        pytest.param({**A, "persistentVolume": A}, {**A, "persistentVolume": A}, id="both"),
        pytest.param({**A, "persistentVolume": B}, {**A, "persistentVolume": B}, id="odds"),
        pytest.param({"mountPath": "/mnt/x"}, {"mountPath": "/mnt/x"}, id="path alone"),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_what_a_new_one_is_stored_as(version: str, given: Any, kept: Any) -> None:
    assert stored(version, given) == kept


BOTH = {**AT, "persistentVolume": AT}


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
@pytest.mark.parametrize(
    ("new", "old", "kept"),
    [
        pytest.param(BOTH, BOTH, AT, id="nothing changed"),
        pytest.param({**BOTH, **B}, BOTH, {**B, "mountPath": "/mnt/x"}, id="flat changed"),
        pytest.param({**A, "persistentVolume": AT}, BOTH, A, id="flat path gone"),
        pytest.param({"persistentVolume": AT}, BOTH, None, id="flat gone"),
        pytest.param({**AT, "persistentVolume": B}, BOTH, B, id="nested changed"),
        pytest.param({}, BOTH, None, id="both gone"),
        pytest.param({**B, "persistentVolume": A}, {"persistentVolume": A}, B, id="flat added"),
        pytest.param(A, A, A, id="stored while no webhook was there"),
    ],
)
def test_the_form_that_changed_wins(version: str, new: Any, old: Any, kept: Any) -> None:
    assert stored(version, new, old) == ({**kept, "persistentVolume": kept} if kept else {})


def test_an_old_client_that_writes_back_what_it_knows_takes_nothing_away() -> None:
    assert stored("v1alpha1", AT, BOTH) == BOTH
    assert stored("v1beta1", AT, BOTH) == {}, "there, persistentVolume was taken out"


def test_two_changes_that_contradict_are_left_to_validation() -> None:
    new = {**B, "persistentVolume": C}
    assert stored("v1alpha1", new, BOTH) == new


def test_nested_alone_stays_alone() -> None:
    assert stored("v1beta1", {"persistentVolume": B}, {"persistentVolume": A}) == {
        "persistentVolume": B
    }


@pytest.mark.parametrize("odd", [None, "x", [], {"persistentVolume": 3}, A | {"mountPath": 1}])
def test_other_shapes_are_left_to_the_schema(odd: Any) -> None:
    assert stored("v1alpha1", odd) == odd
    assert default({"kind": "RAGEngine", "spec": odd}) == {"kind": "RAGEngine", "spec": odd}


def test_the_webhook_writes_the_other_form() -> None:
    request = AdmissionRequest(
        uid="u", operation="CREATE", object=engine("v1alpha1", AT), old_object={}
    )
    (patch,) = admission.mutate(request).patch
    assert patch == {"op": "add", "path": "/spec/storage/persistentVolume", "value": AT}


def test_who_reads_it_needs_no_webhook() -> None:
    flat = StorageSpec.model_validate(AT).volume
    assert flat is not None
    assert (flat.persistent_volume_claim, flat.mount_path) == ("a", "/mnt/x")
    nested = StorageSpec.model_validate({"persistentVolume": B, **AT}).volume
    assert nested is not None
    assert nested.persistent_volume_claim == "b"
    assert StorageSpec().volume is None


def test_v1alpha1_has_an_instance_type_where_there_is_a_compute() -> None:
    manifest = engine("v1alpha1", {})
    assert default(manifest) == manifest
    manifest["spec"]["compute"] = {"labelSelector": {}}
    typed = default(manifest)["spec"]["compute"]["instanceType"]
    assert typed == "Standard_NC24ads_A100_v4"
    assert default(manifest, byo=True) == manifest
    assert default({**manifest, "apiVersion": "kaito.sh/v1beta1"})["spec"] == manifest["spec"]
