"""`kaito validate` on manifests written for KAITO 0.1 to 0.12."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaito import validate
from tests import old_manifests


@pytest.mark.parametrize("file", old_manifests.accepted(), ids=lambda file: file.stem)
def test_they_are_accepted(file: Path) -> None:
    known = old_manifests.facts(old_manifests.provisioner(file))
    wrong = [each for each in validate.check(str(file), known) if not each.warning]
    assert wrong == []


@pytest.mark.parametrize("file", old_manifests.refused(), ids=lambda file: file.stem)
def test_what_cannot_be_served_is_refused_in_words(file: Path) -> None:
    known = old_manifests.facts(old_manifests.provisioner(file))
    said = [str(each.error) for each in validate.check(str(file), known)]
    assert any(old_manifests.words(file) in each for each in said), said


def test_a_count_that_is_not_looked_at_is_warned_of() -> None:
    file = old_manifests.FOLDER / "azure" / "v0.6-two-nodes.yaml"
    (said,) = validate.check(str(file), old_manifests.facts("nodeclaim"))
    assert said.warning
    assert str(said.error) == (
        'resource.count: 2 is not looked at: preset "llama-3.3-70b-instruct" with 131.4 GiB of'
        " weights is laid out on 3 nodes of Standard_NC24ads_A100_v4 (1 × 80 GiB of GPU each), and"
        " so many are made"
    )


def test_a_config_map_beside_the_workspace_is_read(tmp_path: Path) -> None:
    whole = (old_manifests.FOLDER / "azure" / "v0.5-config.yaml").read_text()
    file = tmp_path / "objects.yaml"
    file.write_text(whole.replace("max-model-len: 16384", "max-model-len: 999999"))
    (said,) = validate.check(str(file), old_manifests.facts("nodeclaim"))
    assert said.kind == "Workspace"
    assert "999999" in said.error.message
