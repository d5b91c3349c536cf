"""Which revision is gone back to, and what that writes."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import msgspec
import pytest

from apis.kaito.v1beta1.workspace import Workspace
from kaito import cluster, diff, rollback
from kaito.rollback import Kept, NoRevisionError
from kube.errors import ConflictError
from kube.listing import Listing
from kube.meta import Manifest, ObjectMeta
from kube.objects import CONFIG_MAPS
from tests.builders import a_config, a_workspace, settings
from workspace_controller.workspace import revision


def kept(workspace, number: int) -> Kept:
    return Kept(
        metadata=ObjectMeta(
            name=f"falcon-{number}",
            annotations={"workspace.kaito.io/hash": revision.spec_hash(workspace)},
        ),
        revision=number,
        data=revision.meant(workspace),
    )


PRESENT = a_workspace(inference={"config": "options"}, annotations={"team": "search"})
FIRST = kept(a_workspace(annotations={"kaito.sh/runtime": "vllm"}), 1)
SECOND = kept(a_workspace(inference={"adapters": [{"source": {"name": "a"}}]}), 2)
THIRD = kept(PRESENT, 3)


def test_without_a_number_it_is_the_one_before():
    assert rollback.chosen(PRESENT, [FIRST, THIRD, SECOND], None) is SECOND
    assert rollback.chosen(PRESENT, [FIRST, THIRD, SECOND], 1) is FIRST


@pytest.mark.parametrize(
    ("there", "number", "said"),
    [
        ([], None, "no revision is kept"),
        ([THIRD], None, "no earlier revision; kept: 3"),
        ([THIRD, FIRST], 2, "no revision 2; kept: 1, 3"),
    ],
)
def test_where_there_is_nothing_to_go_back_to_it_says_what_there_is(there, number, said):
    with pytest.raises(NoRevisionError, match=said):
        rollback.chosen(PRESENT, there, number)


def test_what_it_writes_is_the_difference_and_only_over_what_was_read():
    document = rollback.restored(PRESENT, FIRST)
    assert rollback.patch(PRESENT, document) == {
        "metadata": {"annotations": {"kaito.sh/runtime": "vllm"}, "resourceVersion": "1"},
        "inference": {"config": None},
    }


def test_annotations_that_are_no_part_of_a_revision_stay():
    present = a_workspace(annotations={"team": "search", "kaito.sh/runtime": "llamacpp"})
    restored = rollback.restored(present, kept(a_workspace(), 1))
    assert restored["metadata"]["annotations"] == {"team": "search"}
    written = rollback.patch(present, restored)
    assert written["metadata"]["annotations"] == {"kaito.sh/runtime": None}


def test_the_restored_is_what_was_meant_then():
    again = type(PRESENT).model_validate(rollback.restored(PRESENT, SECOND))
    assert revision.spec_hash(again) == SECOND.metadata.annotations["workspace.kaito.io/hash"]


def test_the_list_shows_what_was_served_the_newest_first():
    lines = rollback.table(PRESENT, [FIRST, SECOND, THIRD]).splitlines()
    assert [line.split()[0] for line in lines] == ["REVISION", "3", "2", "1"]
    assert lines[1].endswith("small-1b; config options (present)")
    assert lines[2].endswith("small-1b; adapters a")
    assert lines[3].endswith("small-1b; runtime vllm")


def test_a_revision_of_upstream_is_read_as_it_is():
    theirs = msgspec.structs.replace(FIRST, data={"inference": {"preset": {"name": "small-1b"}}})
    document = rollback.restored(PRESENT, theirs)
    assert document["inference"] == {"preset": {"name": "small-1b"}}
    assert "resource" not in document


class Busy:
    """A cluster whose controller writes status between each look and the write that follows."""

    def __init__(self, conflicts: int) -> None:
        self.conflicts = conflicts
        self.version = 7
        self.patches: list[Manifest] = []

    async def __aenter__(self) -> Busy:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get(self, *_: object) -> Workspace:
        meta = msgspec.structs.replace(PRESENT.metadata, resource_version=str(self.version))
        return PRESENT.model_copy(update={"metadata": meta})

    async def list(self, resource: object, **_: object) -> Listing[Any]:
        found = {rollback.REVISIONS: [FIRST, THIRD], CONFIG_MAPS: [a_config()]}[resource]
        return Listing(found, "1")

    async def patch(self, resource: object, name: str, patch: Manifest, **_: object) -> None:
        self.version += 1
        if len(self.patches) < self.conflicts:
            self.patches.append(patch)
            raise ConflictError(409, "Conflict", "the object has been modified")
        self.patches.append(patch)


@pytest.mark.parametrize(("conflicts", "status"), [(0, 0), (4, 0), (5, 1)])
def test_what_is_written_meanwhile_is_read_again(conflicts, status, monkeypatch, capsys):
    busy = Busy(conflicts)
    monkeypatch.setattr(cluster, "client", lambda _: busy)
    monkeypatch.setattr(cluster, "namespace", lambda _: "default")
    monkeypatch.setattr(diff, "installed", lambda _: settings())
    asked = Namespace(workspace="falcon", to_revision=1, list=False, dry_run=False)
    assert rollback.run(asked) == status
    assert ("goes back to revision 1" in capsys.readouterr().out) is (status == 0)
    versions = [each["metadata"]["resourceVersion"] for each in busy.patches]
    assert versions == [str(7 + at) for at in range(min(conflicts, 4) + 1)]
