"""`kaito validate` on manifests written for KAITO 0.1 to 0.12."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaito import validate
from tests import old_manifests


@pytest.mark.parametrize(
    "file",
    [*old_manifests.accepted(), *old_manifests.ragengines()],
    ids=lambda file: file.stem,
)
def test_they_are_accepted(file: Path) -> None:
    known = old_manifests.facts(old_manifests.provisioner(file))
    wrong = [each for each in validate.check(str(file), known) if not each.warning]
    assert wrong == []


@pytest.mark.parametrize(
    "file",
    [*old_manifests.refused(), *old_manifests.refused_ragengines()],
    ids=lambda file: file.stem,
)
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


def test_what_a_ragengine_of_the_first_releases_leaves_open_is_warned_of() -> None:
    file = old_manifests.FOLDER / "ragengine" / "v0.4-first.yaml"
    said = [str(each.error) for each in validate.check(str(file), old_manifests.facts("nodeclaim"))]
    assert [each.partition(":")[0] for each in said] == [
        "spec.storage",
        "spec.inferenceService.contextWindowSize",
        "spec.inferenceService.url",
    ]


def test_settings_beside_the_ragengine_are_read(tmp_path: Path) -> None:
    """rag settings"""
    file = tmp_path / "objects.yaml"
    engine = (old_manifests.FOLDER / "ragengine" / "v0.12-guardrails.yaml").read_text()
    assert engine.count("kind: RAGEngine\nmetadata:\n") == 1
    named = "metadata:\n  annotations: {kaito.sh/rag-settings: chosen}\n"
    named = engine.replace("kind: RAGEngine\nmetadata:\n", f"kind: RAGEngine\n{named}")
    facts = old_manifests.facts("nodeclaim")
    before = [str(each.error) for each in validate.check(_put(file, engine), facts)]
    absent = [str(each.error) for each in validate.check(_put(file, named), facts)]
    assert absent == before, "as a policy that is not in the file"
    chosen = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: chosen}\ndata: {RAG_SYNC: maybe}\n"
    found = [
        str(each.error) for each in validate.check(_put(file, f"{named}\n---\n{chosen}"), facts)
    ]
    (said,) = (each for each in found if each not in before)
    assert said.endswith("'maybe' does not fit; set it to true or false")


def _put(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


def test_a_policy_beside_the_ragengine_is_read(tmp_path: Path) -> None:
    """R-6."""
    whole = (old_manifests.FOLDER / "ragengine" / "v0.12-guardrails.yaml").read_text()
    file = tmp_path / "objects.yaml"
    file.write_text(whole.replace("scanners:", "scanners: {}\n    other:"))
    (said,) = validate.check(str(file), old_manifests.facts("nodeclaim"))
    assert said.kind == "RAGEngine"
    assert str(said.error).endswith('of ConfigMap "guardrails-policy": scanners must be a list')
