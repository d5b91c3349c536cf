"""Node classes: readiness, and the hash by which drift is found."""

from __future__ import annotations

import pytest

from cloudproviders.nodeclass import READY, NodeClassCondition, NodeClassStatus, static_hash


@pytest.mark.parametrize(
    ("statuses", "ready"),
    [([], True), (["True", "True"], True), (["True", "False"], False), (["Unknown"], False)],
)
def test_a_class_is_ready_when_nothing_speaks_against_it(statuses: list[str], ready: bool) -> None:
    conditions = [
        NodeClassCondition(f"Part{number}Ready", status)  # type: ignore[arg-type]
        for number, status in enumerate(statuses)
    ]

    assert NodeClassStatus(conditions=conditions).ready is ready
    assert READY.ready


def test_the_hash_is_of_what_matters_in_any_order() -> None:
    spec = {"imageFamily": "Ubuntu", "tags": {"a": "1", "b": "2"}, "subnets": ["x"]}
    same = {"tags": {"b": "2", "a": "1"}, "subnets": ["y"], "imageFamily": "Ubuntu"}
    other = {**spec, "imageFamily": "AzureLinux"}

    assert static_hash(spec, without=["subnets"]) == static_hash(same, without=["subnets"])
    assert static_hash(spec) != static_hash(same)
    assert static_hash(spec, without=["subnets"]) != static_hash(other, without=["subnets"])
