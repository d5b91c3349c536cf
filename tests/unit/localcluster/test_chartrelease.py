"""Charts as a release has them: their own images, and nothing else changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from localcluster import chartrelease

ROOT = Path(__file__).parents[3]
TAG = f"1.2.3@sha256:{'a' * 64}"


def values(folder: Path, chart: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((folder / chart / "values.yaml").read_text())
    return found


def test_values_and_readmes_name_the_releases_images(tmp_path: Path) -> None:
    folder = tmp_path / "released"
    chartrelease.write(chartrelease.settings("ghcr.io/owner", TAG), folder)
    told = values(folder, "workspace")
    image = {**values(ROOT / "charts", "workspace")["image"]}  # type: ignore[dict-item]
    assert told["image"] == image | {"repository": "ghcr.io/owner/kaito-controllers", "tag": TAG}
    assert told["presetRegistryName"] == "ghcr.io/owner"
    assert "localhost/" not in (folder / "gpu-provisioner/values.yaml").read_text()
    for chart in ("workspace", "gpu-provisioner"):
        assert '"ghcr.io/owner/kaito-controllers"' in (folder / chart / "README.md").read_text()


def test_nothing_else_is_changed(tmp_path: Path) -> None:
    folder = tmp_path / "released"
    told = chartrelease.settings("ghcr.io/owner", TAG)
    chartrelease.write(told, folder)
    changed = 0
    for path in sorted(file for file in (ROOT / "charts").rglob("*") if file.is_file()):
        was = path.read_text().splitlines()
        now = (folder / path.relative_to(ROOT / "charts")).read_text().splitlines()
        changed += sum(a != b for a, b in zip(was, now, strict=True))
    assert changed == 2 * sum(map(len, told.values()))


@pytest.mark.parametrize(
    ("registry", "tag", "says"),
    [
        ("https://ghcr.io", "", "no registry and path"),
        ("ghcr.io/Owner", "", "no registry and path"),
        ("ghcr.io/owner", "sha256:ab", "no tag"),
        ("ghcr.io/owner", "1.2.3@sha256:ab", "no tag"),
    ],
)
def test_what_no_image_can_be_called_is_refused(registry: str, tag: str, says: str) -> None:
    with pytest.raises(chartrelease.ChartReleaseError, match=says):
        chartrelease.settings(registry, tag)


def test_a_value_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """Else a chart would be released that names no registry, after a key was renamed."""
    charts = tmp_path / "charts"
    (charts / "workspace").mkdir(parents=True)
    (charts / "workspace/values.yaml").write_text("other:\n  repository: a\nimage:\n  name: b\n")
    with pytest.raises(chartrelease.ChartReleaseError, match="0 times"):
        chartrelease.write({"workspace": {"image.repository": "c"}}, tmp_path / "out", charts)


def test_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chartrelease.main(["ghcr.io/OWNER", str(tmp_path / "a")]) == 0
    assert values(tmp_path / "a", "workspace")["presetRegistryName"] == "ghcr.io/owner"
    assert chartrelease.main(["ghcr.io/OWNER", str(tmp_path / "a")]) == 1
    assert "exists" in capsys.readouterr().err


def test_the_workflow_packages_what_the_script_has_written() -> None:
    """By the digest that the tag's own workflow has signed."""
    told = yaml.safe_load((ROOT / ".github/workflows/charts.yaml").read_text())
    scripts = "\n".join(step.get("run", "") for step in told["jobs"]["charts"]["steps"])
    written = 'chartrelease "$images" released --controllers-tag "$VERSION@$digest"'
    assert scripts.index('cosign verify "$image@$digest"') < scripts.index(written)
    assert scripts.index(written) < scripts.index("for chart in released/*/Chart.yaml")
    assert "charts/*/" not in scripts
