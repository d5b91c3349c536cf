"""Which revisions are kept, under which name and number."""

from __future__ import annotations

import msgspec
import pytest

from kube.meta import ObjectMeta
from kube.objects import ControllerRevision
from tests.builders import a_workspace, a_world, settings
from workspace_controller.workspace import revision
from workspace_controller.workspace.history import LIMIT, history

STORED = {"workspace.kaito.io/revision": "4"}


def a_revision(name: str, number: int, hash_: str = "other") -> ControllerRevision:
    return ControllerRevision(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            annotations={"workspace.kaito.io/hash": hash_},
        ),
        revision=number,
    )


def stored(number: int = 4, **given):
    """A Workspace that knows its number."""
    workspace = a_workspace(**given)
    known = {
        **workspace.metadata.annotations,
        "workspace.kaito.io/hash": revision.spec_hash(workspace),
        "workspace.kaito.io/revision": str(number),
    }
    metadata = msgspec.structs.replace(workspace.metadata, annotations=known)
    return workspace.model_copy(update={"metadata": metadata})


def plan(workspace, *kept):
    return history(workspace, a_world(revisions=kept), settings())


def test_a_revision_is_kept_in_upstreams_form():
    workspace = stored(annotations={"kaito.sh/runtime": "vllm", "kaito.sh/enablelb": "True"})
    (made,) = plan(workspace).create
    value = revision.spec_hash(workspace)
    assert made["metadata"].pop("ownerReferences")[0]["name"] == "falcon"
    assert made == {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"falcon-{value[:10]}",
            "namespace": "default",
            "labels": {"workspace.kaito.io/name": "falcon"},
            "annotations": {"workspace.kaito.io/hash": value},
        },
        "revision": 4,
        "data": {
            "resource": {
                "instanceType": "local-gpu-1",
                "labelSelector": {"matchLabels": {"apps": "llm"}},
            },
            "inference": {"preset": {"name": "small-1b"}},
            "annotations": {"kaito.sh/runtime": "vllm"},
        },
    }


def test_what_is_kept_is_not_kept_again():
    workspace = stored()
    kept = a_revision("falcon-x", 4, revision.spec_hash(workspace))
    done = plan(workspace, kept)
    assert (done.create, done.change, done.delete) == ((), (), ())


def test_what_is_meant_again_gets_the_new_number_and_no_second_object():
    workspace = stored(number=7)
    kept = a_revision("falcon-x", 4, revision.spec_hash(workspace))
    done = plan(workspace, kept, a_revision("falcon-y", 6))
    assert [(change.name, change.patch) for change in done.change] == [
        ("falcon-x", {"revision": 7})
    ]
    assert done.create == ()


def test_a_name_that_is_taken_is_made_longer():
    workspace = stored()
    value = revision.spec_hash(workspace)
    (made,) = plan(workspace, a_revision(f"falcon-{value[:10]}", 3)).create
    assert made["metadata"]["name"] == f"falcon-{value[:11]}"


def test_the_oldest_of_more_than_ten_go_and_never_the_present_one():
    older = [a_revision(f"falcon-{number}", number) for number in range(3, 3 + LIMIT)]
    assert [gone.name for gone in plan(stored(number=99), *older).delete] == ["falcon-3"]
    workspace = stored(number=1)
    present = a_revision("falcon-now", 1, revision.spec_hash(workspace))
    gone = plan(workspace, present, *older).delete
    assert [(each.name, each.uid, each.namespace) for each in gone] == [
        ("falcon-3", "uid-falcon-3", "default")
    ]


def test_the_number_never_goes_back():
    assert revision.number(a_workspace(), [a_revision("falcon-9", 9)]) == 10
    edited = stored(number=4).model_copy(update={"inference": a_workspace(preset="x").inference})
    assert revision.number(edited, [a_revision("falcon-2", 2)]) == 5


def test_defaults_written_out_and_fields_that_the_api_gains_are_no_edit():
    spelt = {"preset": {"name": "small-1b", "accessMode": "public"}, "adapters": []}
    assert revision.spec_hash(a_workspace(inference=spelt)) == revision.spec_hash(a_workspace())


@pytest.mark.parametrize("key", ["kaito.sh/performance-mode", "kaito.sh/runtime-adapters"])
def test_an_annotation_that_changes_the_pods_is_an_edit(key):
    told = a_workspace(annotations={key: "throughput"})
    assert revision.spec_hash(told) != revision.spec_hash(a_workspace())
