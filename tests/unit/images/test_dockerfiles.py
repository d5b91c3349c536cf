"""Dockerfiles and what the images' packages import."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILES = [
    pytest.param(path, id=str(path.relative_to(ROOT / "images")))
    for path in sorted((ROOT / "images").rglob("Dockerfile*"))
]
SOURCES = [
    pytest.param(path, id=str(path.relative_to(ROOT / "images")))
    for path in sorted((ROOT / "images").rglob("*.py"))
]
ENGINES = {"xllamacpp", "yaml"}
CONTRACT = {"apis.container", "apis.engineoptions"}


@pytest.mark.parametrize("path", DOCKERFILES)
def test_the_base_can_be_chosen(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert any(line.startswith("ARG BASE=") for line in lines)
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {"${BASE}"}


@pytest.mark.parametrize("path", DOCKERFILES)
def test_what_is_copied_exists(path: Path) -> None:
    for line in path.read_text().splitlines():
        if not line.startswith("COPY ") or "--from=" in line:
            continue
        for source in line.split()[1:-1]:
            assert list(ROOT.glob(source.rstrip("/"))), source


@pytest.mark.parametrize("path", DOCKERFILES)
def test_no_image_runs_as_root(path: Path) -> None:
    (user,) = re.findall(r"^USER (\S+)$", path.read_text(), re.MULTILINE)
    assert user == "65532:65532"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "images").rglob("*.py")), ids=lambda path: path.name
)
def test_images_import_nothing_of_ours_but_the_contract(path: Path) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [f"{node.module}.{alias.name}" for alias in node.names]
            if isinstance(node, ast.ImportFrom) and node.module
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    for name in imported:
        top = name.partition(".")[0]
        known = top in sys.stdlib_module_names or top in {"serving", *ENGINES}
        assert known or name in CONTRACT, name


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_the_contract_is_the_standard_library_alone(name: str) -> None:
    tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
    modules = [
        name
        for node in ast.walk(tree)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    ]
    assert {name.partition(".")[0] for name in modules} <= sys.stdlib_module_names
