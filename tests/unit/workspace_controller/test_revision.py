"""Hash and number of what the user means; and reading one's own writes."""

from __future__ import annotations

import re

import pytest

from tests.builders import a_workspace, a_world, settings
from workspace_controller.latest import LatestWrites
from workspace_controller.workspace import revision


def plan(workspace):
    return revision.revision(workspace, a_world(), settings()).annotations


def test_the_first_revision():
    annotations = plan(a_workspace())
    assert annotations["workspace.kaito.io/revision"] == "1"
    assert re.fullmatch("[0-9a-f]{64}", annotations["workspace.kaito.io/hash"])


def test_what_is_stored_is_not_stored_again():
    assert plan(a_workspace(annotations=plan(a_workspace()))) == {}


@pytest.mark.parametrize(
    "edit", [{"preset": "large-70b"}, {"instance_type": "other"}, {"inference": {"config": "c"}}]
)
def test_an_edit_is_the_next_revision(edit):
    stored = plan(a_workspace())
    edited = plan(a_workspace(annotations=stored, **edit))
    assert edited["workspace.kaito.io/revision"] == "2"
    assert edited["workspace.kaito.io/hash"] != stored["workspace.kaito.io/hash"]


def test_status_and_metadata_are_not_what_the_user_means():
    workspace = a_workspace(uid="another", annotations={"kaito.sh/enablelb": "True"})
    assert revision.spec_hash(workspace) == revision.spec_hash(a_workspace())


def versioned(version: str):
    workspace = a_workspace()
    metadata = type(workspace.metadata)(
        name="falcon", namespace="default", uid="u", resource_version=version
    )
    return workspace.model_copy(update={"metadata": metadata})


def test_our_own_write_is_read_until_the_cache_has_it():
    latest, written = LatestWrites(), versioned("7")
    latest.wrote(written)
    assert latest.of(versioned("6")) is written
    cached = versioned("7")
    assert latest.of(cached) is cached


def test_what_others_wrote_later_counts():
    latest, cached = LatestWrites(), versioned("12")
    latest.wrote(versioned("9"))
    assert latest.of(cached) is cached
    older = versioned("8")
    assert latest.of(older) is older


def test_what_was_never_written_is_what_the_cache_has():
    cached = versioned("3")
    assert LatestWrites().of(cached) is cached
