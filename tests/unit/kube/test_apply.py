from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube import apply
from tests.fakes.apiobjects import merged

DESIRED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "phi", "namespace": "default", "labels": {"app": "phi"}},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "phi",
                        "image": "serving:1",
                        "args": ["--port", "5000"],
                        "env": [{"name": "A", "value": "1000m"}],
                        "ports": [{"containerPort": 5000}],
                        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
                        "securityContext": {},
                    }
                ],
                "volumes": [{"name": "shm", "emptyDir": {"sizeLimit": "1024Mi"}}],
                "hostNetwork": False,
            }
        },
    },
}


def live() -> dict[str, Any]:
    """What the server makes of DESIRED: defaults, its own spelling, and others' additions."""
    obj = deepcopy(apply.with_applied_hash(DESIRED))
    obj["metadata"] |= {"uid": "u", "resourceVersion": "7", "finalizers": ["others/own"]}
    obj["metadata"]["labels"]["others"] = "too"
    obj["status"] = {"replicas": 2}
    spec = obj["spec"]["template"]["spec"]
    spec["dnsPolicy"] = "ClusterFirst"
    del spec["hostNetwork"]
    spec["volumes"][0]["emptyDir"]["sizeLimit"] = "1Gi"
    spec["containers"].insert(0, {"name": "injected"})
    ours = spec["containers"][1]
    ours["resources"]["requests"] = {"cpu": "1", "memory": "1Gi"}
    ours["ports"][0]["protocol"] = "TCP"
    del ours["securityContext"]
    return obj


def change(path: list[Any], value: Any) -> dict[str, Any]:
    obj = live()
    at: Any = obj
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return obj


CONTAINER = ["spec", "template", "spec", "containers", 1]


def test_an_absent_object_needs_it() -> None:
    assert apply.needs_apply(DESIRED, None)


def test_what_the_server_added_or_respelled_needs_nothing() -> None:
    assert not apply.needs_apply(DESIRED, live())


def test_a_desired_that_carries_its_hash_is_the_same_desired() -> None:
    assert not apply.needs_apply(apply.with_applied_hash(DESIRED), live())


@pytest.mark.parametrize(
    "drifted",
    [
        pytest.param(change(["spec", "replicas"], 3), id="scaled by hand"),
        pytest.param(change([*CONTAINER, "image"], "other"), id="image"),
        pytest.param(change([*CONTAINER, "args"], ["--port"]), id="shorter list"),
        pytest.param(change([*CONTAINER, "args"], ["5000", "--port"]), id="order of scalars"),
        pytest.param(
            change([*CONTAINER, "resources", "requests", "cpu"], "1001m"), id="other quantity"
        ),
        pytest.param(
            change([*CONTAINER, "resources", "requests", "cpu"], "much"), id="no quantity"
        ),
        pytest.param(change([*CONTAINER, "env", 0, "value"], "1"), id="text is no quantity"),
        pytest.param(change([*CONTAINER, "name"], "renamed"), id="our container is gone"),
        pytest.param(change(["metadata", "labels"], None), id="label gone"),
        pytest.param(
            change(["spec", "template", "spec", "hostNetwork"], 0), id="a number is no boolean"
        ),
        pytest.param(change(["spec", "template"], []), id="list for map"),
        pytest.param(change(["metadata", "annotations"], {}), id="hash gone"),
    ],
)
def test_drift_needs_it(drifted: dict[str, Any]) -> None:
    assert apply.needs_apply(DESIRED, drifted)


def test_a_field_that_we_no_longer_mean_needs_it() -> None:
    wanted = deepcopy(DESIRED)
    del wanted["metadata"]["labels"]["app"]
    assert apply.needs_apply(wanted, live())


def test_owners_are_known_by_uid_and_finalizers_are_shared() -> None:
    wanted = {"metadata": {"finalizers": ["ours"], "ownerReferences": [{"uid": "1", "name": "a"}]}}
    stored = apply.with_applied_hash(wanted)
    stored["metadata"]["finalizers"] = ["theirs", "ours"]
    stored["metadata"]["ownerReferences"] = [{"uid": "2", "name": "b"}, {"uid": "1", "name": "a"}]
    assert not apply.needs_apply(wanted, stored)
    stored["metadata"]["finalizers"] = ["theirs"]
    assert apply.needs_apply(wanted, stored)


def test_with_applied_hash_leaves_its_argument() -> None:
    before = deepcopy(DESIRED)
    hashed = apply.with_applied_hash(DESIRED)
    assert before == DESIRED
    assert len(hashed["metadata"]["annotations"][apply.APPLIED_HASH_ANNOTATION]) == 16


def test_the_hash_does_not_depend_on_order_or_on_itself() -> None:
    reordered = dict(reversed(DESIRED.items()))
    once = apply.with_applied_hash(reordered)
    assert once["metadata"] == apply.with_applied_hash(DESIRED)["metadata"]
    assert apply.with_applied_hash(once) == once


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": {"b": 1}}, {"a": 3}, {"a": 3}),
    ],
)
def test_merge_patch(before: dict, after: dict, patch: dict) -> None:
    assert apply.merge_patch(before, after) == patch


TREES = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_a_patch_leads_from_before_to_after(before: dict, after: dict) -> None:
    assert merged(before, apply.merge_patch(before, after)) == after


def test_what_was_applied_is_known_whatever_became_of_it() -> None:
    changed = live()
    changed["spec"]["replicas"] = 0
    assert apply.was_applied(DESIRED, changed)
    assert not apply.was_applied({**DESIRED, "spec": {}}, changed)
    assert not apply.was_applied(DESIRED, {})


def test_a_manifest_is_bound_to_the_object_that_is_there() -> None:
    bound = apply.bound_to(DESIRED, live())
    assert bound["metadata"] == {**DESIRED["metadata"], "uid": "u"}
    assert "uid" not in DESIRED["metadata"]
    assert not apply.needs_apply(bound, {**live(), **apply.with_applied_hash(bound)})


@pytest.mark.parametrize(
    ("there", "wanted", "same"),
    [
        ("1Gi", "1024Mi", True),
        ({"a": 1, "defaulted": True}, {"a": 1}, True),
        ([{"name": "a", "x": 1}], [{"name": "a"}], True),
        ("serving:2", "serving:1", False),
        (["a"], ["a", "b"], False),
    ],
)
def test_a_value_holds_what_was_asked_for(there: Any, wanted: Any, same: bool) -> None:
    assert apply.holds(there, wanted) is same
