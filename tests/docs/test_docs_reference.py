"""The pages that are written from code are what the code is, and what they rest on is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.generators import __main__ as generators
from docs.generators import fields, variables
from kube.crd import Definition
from tests.docs.pages import ROOT


def test_no_page_is_stale():
    assert not generators.stale(), "run `python -m docs.generators`"


def test_a_page_that_is_not_what_it_would_be_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(generators, "REFERENCE", tmp_path)
    assert generators.main([]) == 0
    assert generators.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("# Something else\n")
    assert generators.main(["--check"]) == 1
    assert "cli.md is stale" in capsys.readouterr().err


@pytest.mark.parametrize("kind", fields.KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_on_the_page_of_its_kind(kind: Definition):
    text = fields.page(kind)
    paths = {
        field.path
        for version in kind.manifest()["spec"]["versions"]
        if version["storage"]
        for field in fields.fields(version["schema"]["openAPIV3Schema"])
    }
    assert {path for path in paths if f"| `{path}` |" not in text} <= {"spec", "status"}


@pytest.mark.parametrize("kind", fields.KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_told_what_it_means(kind: Definition):
    rows = [line for line in fields.page(kind).splitlines() if line.startswith("| `")]
    assert not [row for row in rows if row.endswith("|  |")]


def test_what_is_told_of_fields_is_of_fields_that_exist():
    known = fields.notes()
    for kind, told in [*known.ours.items(), *known.upstream.items()]:
        definition = next(each for each in fields.KINDS if each.kind == kind)
        schema = definition.manifest()["spec"]["versions"][-1]["schema"]["openAPIV3Schema"]
        assert set(told) <= {field.path for field in fields.fields(schema)}


def test_a_field_that_upstream_does_not_have_is_ours():
    known = fields.notes()
    assert known.is_ours("Workspace", "status.progress.stage")
    assert known.is_ours("Workspace", "tuning.input.huggingFace")
    assert not known.is_ours("Workspace", "tuning.input.urls")
    assert not known.is_ours("NodeClaim", "spec.taints[].key")


PROGRAMS = {"gpu_provisioner": "gpu-provisioner", "workspace_controller": "workspace"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_words_are_for_variables_that_are_read(program: str):
    known = yaml.safe_load(variables.WORDS.read_text())[program]
    assert not set(known) - variables.read_by(program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_charts_have_the_values_that_set_variables(program: str):
    chart = ROOT / "charts" / PROGRAMS[program]
    values = yaml.safe_load((chart / "values.yaml").read_text())
    templates = "".join(path.read_text() for path in (chart / "templates").rglob("*.*"))
    for name, words in variables.words(program).items():
        for value in filter(None, words.value.split(", ")):
            assert has(values, value.split(".")), value
            assert re.search(spelled(name), templates), f"{name} is set by no template"


def spelled(name: str) -> str:
    """A template may put the name together: `{{ upper $key }}_TIMEOUT`."""
    *_, rest = name.partition("_")
    return rf'\b{name}\b|[}}"s]_{rest}\b' if rest else rf"\b{name}\b"


def has(values: Any, path: list[str]) -> bool:
    if not path:
        return True
    if not isinstance(values, dict):
        return False
    if path[0] == "*":
        return any(has(each, path[1:]) for each in values.values())
    return path[0] in values and has(values[path[0]], path[1:])


FEATURES = {
    "fieldPath": (1, 28),
    "optionalOldSelf": (1, 30),
    "optional types": (1, 29),
    "rules": (1, 29),
}
"""From which Kubernetes on a CRD can have it, stable or by default."""


def features(schema: Any) -> set[str]:
    """Of those above, what the schema has."""
    if isinstance(schema, list):
        return {each for part in schema for each in features(part)}
    if not isinstance(schema, dict):
        return set()
    found = set()
    for rule in schema.get("x-kubernetes-validations", ()):
        found |= {"rules", *(set(rule) & set(FEATURES))}
        if re.search(r"\.\?|orValue\(|hasValue\(", rule["rule"]):
            found.add("optional types")
    return found | {each for part in schema.values() for each in features(part)}


_CRDS = {
    chart.name: sorted(chart.rglob("files/**/*.y*ml"))
    for chart in sorted((ROOT / "charts").iterdir())
    if (chart / "Chart.yaml").exists()
}


@pytest.mark.parametrize("chart", sorted(_CRDS))
def test_charts_ask_for_a_kubernetes_that_has_what_their_crds_use(chart: str):
    asked = yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())["kubeVersion"]
    found = re.fullmatch(r">=\s*(\d+)\.(\d+)\.0-0", asked)
    assert found is not None, asked
    least = (int(found[1]), int(found[2]))
    crds = [each for path in _CRDS[chart] for each in yaml.safe_load_all(path.read_text())]
    used = features([each for each in crds if each and "CustomResource" in str(each.get("kind"))])
    assert least >= max((FEATURES[each] for each in used), default=(1, 25)), used


def test_the_page_of_versions_has_what_the_charts_ask_for():
    page = (ROOT / "docs" / "compatibility.md").read_text()
    for chart in _CRDS:
        asked = yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())["kubeVersion"]
        least = asked.removeprefix(">=").removesuffix(".0-0").strip()
        assert f"| `{chart}` | {least} |" in page, f"{chart} asks for {least}"
