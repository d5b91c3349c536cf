"""What charts say of themselves: READMEs, versions, Artifact Hub's annotations."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import yaml

from localcluster import chartdocs
from tests.conformance.charts.rendering import (
    CHARTS,
    KUBE_VERSION,
    LOCAL,
    NAMES,
    ROOT,
    binary,
    helm,
    render,
)

ALL_CLASSES = ["AKSNodeClass", "EC2NodeClass", "GCENodeClass", "KaitoNodeClass"]


def paper(chart: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def readmes() -> dict[str, str]:
    wanted = chartdocs.readmes(binary("helm-docs"))
    return {path.parent.name: text for path, text in wanted.items()}


def test_the_readmes_are_what_the_values_say(readmes: dict[str, str]) -> None:
    assert sorted(readmes) == sorted(NAMES)
    for chart, text in readmes.items():
        assert (CHARTS / chart / "README.md").read_text() == text, (
            "run `python -m localcluster.chartdocs`"
        )


def test_every_value_is_described(readmes: dict[str, str]) -> None:
    for chart, text in readmes.items():
        rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
        assert rows, chart
        assert [row[0] for row in rows if not row[-1].removesuffix("|").strip()] == []
        described = {row[0].strip("|` ").partition(".")[0] for row in rows}
        assert described == set(yaml.safe_load((CHARTS / chart / "values.yaml").read_text()))


@pytest.mark.parametrize("chart", NAMES)
def test_the_programs_version_is_the_projects(chart: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert paper(chart)["appVersion"] == project["version"]


def test_the_charts_go_together() -> None:
    assert len({paper(chart)["version"] for chart in NAMES}) == 1


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        ("kaito-crds", {}),
        ("karpenter-crds", {"nodeClasses": ALL_CLASSES}),
        ("workspace", {}),
    ],
)
def test_artifact_hub_is_told_of_every_crd(chart: str, values: dict[str, Any]) -> None:
    listed = yaml.safe_load(paper(chart)["annotations"]["artifacthub.io/crds"])
    assert {(each["kind"], each["name"], each["version"]) for each in listed} == {
        (crd["spec"]["names"]["kind"], crd["metadata"]["name"], version["name"])
        for crd in render(chart, values)
        if crd["kind"] == "CustomResourceDefinition"
        for version in crd["spec"]["versions"]
        if version["storage"]
    }
    assert all(each["displayName"] and each["description"] for each in listed)


@pytest.mark.parametrize(
    ("chart", "lowest"),
    [
        pytest.param("gpu-provisioner", 29, id="provisioner"),
        pytest.param("karpenter-crds", 29, id="CEL-of-NodeClaim"),
        pytest.param("kaito-crds", 30, id="optionalOldSelf-of-Workspace"),
        pytest.param("workspace", 30, id="workspace"),
    ],
)
def test_older_clusters_are_refused(chart: str, lowest: int) -> None:
    values = LOCAL if chart == "gpu-provisioner" else {}
    for version, refused in (
        (f"1.{lowest - 1}.9", True),
        (f"1.{lowest}.0-gke.1", False),
        (KUBE_VERSION, False),
    ):
        result = helm(
            "template", "x", str(CHARTS / chart), "--kube-version", version, values=values
        )
        assert ("which is incompatible with Kubernetes" in result.stderr) is refused
