"""The charts as scanners of the workflows get them: by the very script, with the pinned helm."""

from __future__ import annotations

import os
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from localcluster.binaries import Binaries

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
VALUES = sorted((ROOT / "charts").glob("*/ci/*.yaml"))


@pytest.fixture(scope="module")
def rendered(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scanned") / "rendered"
    path = os.pathsep.join([str(binaries.path("helm").parent), os.environ["PATH"]])
    ended = subprocess.run(
        [ROOT / ".ci/render-charts", folder],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("values", [pytest.param(v, id=f"{v.parts[-3]} {v.stem}") for v in VALUES])
def test_each_chart_is_judged_with_each_of_its_values(rendered: Path, values: Path) -> None:
    chart = values.parts[-3]
    files = list((rendered / f"{chart}-{values.stem}" / chart).rglob("*.yaml"))
    kinds = {
        each["kind"] for file in files for each in yaml.safe_load_all(file.read_text()) if each
    }
    assert {"Deployment", "ClusterRole"} <= kinds


def test_every_exception_for_a_chart_is_of_a_file_that_is_scanned(rendered: Path) -> None:
    """One for a path that no scanner sees excepts nothing."""
    ignored = yaml.safe_load((ROOT / ".trivyignore.yaml").read_text())["misconfigurations"]
    paths = [path for each in ignored for path in each.get("paths", ()) if "images/" not in path]
    paths = [path for path in paths if "Dockerfile" not in path]
    scanned = [str(file.relative_to(rendered.parent)) for file in rendered.rglob("*.yaml")]
    assert paths
    for path in paths:
        assert any(fnmatch(file, path) for file in scanned), path
