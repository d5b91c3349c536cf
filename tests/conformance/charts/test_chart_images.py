"""Whose images a chart runs: the release's, where it is released; where not, it says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from localcluster import chartrelease
from tests.conformance.charts.rendering import (
    CHARTS,
    KUBE_VERSION,
    NAMES,
    Object,
    container,
    environment,
    helm,
    only,
    parsed,
)

DIGEST = f"sha256:{'a' * 64}"
CLOUD = {"gpu-provisioner": {"cloudProviderName": "kwok"}}
"""It takes none by default."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the workflow packages them."""
    folder = tmp_path_factory.mktemp("release")
    told = chartrelease.settings("ghcr.io/owner", f"9.9.9@{DIGEST}")
    chartrelease.write(told, folder / "released")
    for chart in NAMES:
        version = ("--version", "9.9.9", "--app-version", "9.9.9")
        source = str(folder / "released" / chart)
        done = helm("package", source, *version, "--destination", str(folder))
        assert done.returncode == 0, done.stderr
    return folder


def templated(chart: Path, values: Object) -> list[Object]:
    done = helm("template", "x", str(chart), "--kube-version", KUBE_VERSION, values=values)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


@pytest.mark.parametrize("chart", ["gpu-provisioner", "workspace"])
def test_a_released_chart_runs_its_own_image(packed: Path, chart: str) -> None:
    objects = templated(packed / f"{chart}-9.9.9.tgz", CLOUD.get(chart, {}))
    assert container(objects)["image"] == f"ghcr.io/owner/kaito-controllers:9.9.9@{DIGEST}"
    if chart == "workspace":
        told = environment(objects)
        assert (told["PRESET_REGISTRY_NAME"], told["SERVING_IMAGE_TAG"]) == (
            "ghcr.io/owner",
            "9.9.9",
        )


def test_another_tag_is_another_image(packed: Path) -> None:
    objects = templated(packed / "workspace-9.9.9.tgz", {"image": {"tag": "mine"}})
    assert container(objects)["image"] == "ghcr.io/owner/kaito-controllers:mine"


def notes(chart: str, values: Object, folder: Path) -> str:
    """What helm prints after an installation, which it does not without a cluster: as an object."""
    copy = folder / chart
    shutil.copytree(CHARTS / chart, copy)
    written = (copy / "templates/NOTES.txt").read_text()
    (copy / "templates/_notes.tpl").write_text(f'{{{{ define "notes" }}}}{written}{{{{ end }}}}')
    (copy / "templates/zz.yaml").write_text(
        "apiVersion: v1\nkind: Printed\nmetadata: {name: notes}\n"
        'text: {{ include "notes" . | quote }}\n'
    )
    return str(only(templated(copy, values), "Printed")["text"])


AWS: Object = {"cloudProviderName": "aws"}
EKS: Object = {**AWS, "settings": {"aws": {"region": "r", "clusterName": "c"}}}
MINE: Object = {"repository": "r.example/kaito-controllers"}


@pytest.mark.parametrize(
    ("chart", "values", "warns"),
    [
        ("gpu-provisioner", EKS, "the image is localhost/kaito-controllers, which no node"),
        ("gpu-provisioner", {"cloudProviderName": "kwok"}, ""),
        ("gpu-provisioner", {**EKS, "controller": {"image": MINE}}, ""),
        ("workspace", AWS, "image.repository and presetRegistryName name images at localhost"),
        ("workspace", {**AWS, "image": MINE}, "presetRegistryName names images at localhost"),
        ("workspace", {**AWS, "image": MINE, "presetRegistryName": "r.example"}, ""),
        ("workspace", {"cloudProviderName": "local"}, ""),
    ],
)
def test_images_that_no_node_can_pull_are_told_of(
    chart: str, values: Object, warns: str, tmp_path: Path
) -> None:
    said = notes(chart, values, tmp_path)
    assert ("WARNING" in said) is bool(warns)
    assert warns in said
    assert ("--reset-then-reuse-values" in said) is bool(warns)
