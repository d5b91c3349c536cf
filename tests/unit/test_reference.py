"""docs/workspace/reference.md: every annotation, label and chart value is in it, and its links
lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from apis.kaito.v1beta1.labels import REVISED_ANNOTATIONS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "workspace" / "reference.md"
TEXT = PAGE.read_text()
WIRE = re.compile(r"([a-z0-9.-]+\.)?kaito\.(sh|io)/[a-z-]+")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| `")]


def wire_strings() -> set[str]:
    """Keys of annotations and labels, wherever the controller has them as a constant."""
    files = [ROOT / "kube" / "apply.py"]
    for package in ("apis/kaito", "workspace_controller"):
        files += sorted((ROOT / package).rglob("*.py"))
    return {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and WIRE.fullmatch(node.value)
    }


def documented() -> set[str]:
    """What the first column of some table names."""
    keys = (re.findall(r"`([^`]+)`", row.split("|")[1]) for row in ROWS)
    return {key for found in keys for key in found if WIRE.fullmatch(key)}


def test_every_key_has_its_row_and_none_is_of_the_past():
    assert len(wire_strings()) > 40
    assert documented() == wire_strings()


def test_revisions_are_told_by_the_annotations_that_make_them():
    (sentence,) = re.findall(r"An edit of (.*?)is a \[revision\]", TEXT, re.DOTALL)
    named = {f"kaito.sh/{name}" for name in re.findall(r"`([^`]+)`", sentence)}
    assert named == set(REVISED_ANNOTATIONS)


def test_the_charts_defaults():
    values = yaml.safe_load((ROOT / "charts" / "workspace" / "values.yaml").read_text())
    table = TEXT.partition("## Values of the chart")[2]
    rows = re.findall(r"^\| `([\w.]+)` \| (\S+) \|", table, re.MULTILINE)
    assert len(rows) >= 12
    for name, default in rows:
        found: Any = values
        for step in name.split("."):
            found = found[step]
        told = "" if default == "none" else yaml.safe_load(default.strip("`"))
        assert found == told, name


@pytest.mark.parametrize("page", sorted(PAGE.parent.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(#[\w-]*)?\)", page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor[1:] in {_anchor(each) for each in headings}, f"{target}{anchor}"


def _anchor(heading: str) -> str:
    """As forges make one of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
