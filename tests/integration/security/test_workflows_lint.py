"""The workflow files are what GitHub would run: checked by actionlint."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from localcluster.binaries import Binaries

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def _lint(binaries: Binaries, *files: Path) -> subprocess.CompletedProcess[str]:
    # Scripts are short, and shellcheck is not on every machine.
    command = [str(binaries.path("actionlint")), "-shellcheck=", "-pyflakes=", "-no-color"]
    return subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_all_workflows(binaries: Binaries) -> None:
    ended = _lint(binaries, *sorted((ROOT / ".github/workflows").glob("*.yaml")))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_mistake_would_be_told(binaries: Binaries, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    text = (ROOT / ".github/workflows/ci.yaml").read_text()
    wrong.write_text(text.replace("github.ref", "github.reff"))
    assert _lint(binaries, wrong).returncode == 1
