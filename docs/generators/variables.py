"""Every variable that the two programs read, found in the code that reads it.

`variables.yaml` has the words for each; one without words is an error. That no words are left over
for one that nobody reads, and that the chart has the value, tests/docs shows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from docs.generators.markdown import NOTE, code, table

ROOT = Path(__file__).parents[2]
WORDS = Path(__file__).with_name("variables.yaml")
PROGRAMS = ("gpu_provisioner", "workspace_controller")
_SHARED = ("kube/otlp.py",)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")


class WordsError(ValueError):
    """A program reads a variable that variables.yaml does not know."""


@dataclass(frozen=True, slots=True)
class Words:
    """What stands in the table of one variable."""

    means: str
    value: str = ""
    """Of the chart; empty: `env`, or `controller.env`, alone sets it."""
    default: str = ""


def read_by(program: str) -> set[str]:
    """Names of variables that the program asks the environment for, itself or by what it shares."""
    own = (f"{program}/settings.py", f"{program}/__main__.py")
    files = (path for name in (*own, *_SHARED) if (path := ROOT / name).exists())
    return {name for path in files for name in _asked(ast.parse(path.read_text()))}


def _asked(tree: ast.Module) -> Iterator[str]:
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        for given in _names(node):
            name = constants.get(given.id, given) if isinstance(given, ast.Name) else given
            if isinstance(name, ast.Constant) and _VARIABLE.fullmatch(str(name.value)):
                yield str(name.value)


def _names(node: ast.AST) -> list[ast.expr]:
    """What may be a variable's name: a key, or one of the first arguments of a reader."""
    if isinstance(node, ast.Subscript):
        return [node.slice]
    if isinstance(node, ast.Call):
        reader = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
        return node.args[:2] if reader == "get" or reader.startswith("_") else []
    return []


def words(program: str) -> Mapping[str, Words]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(WORDS.read_text())[program]
    known = {name: Words(**entry) for name, entry in found.items()}
    read = read_by(program)
    if unsaid := sorted(read - set(known)):
        raise WordsError(f"{program} reads {unsaid}: say in {WORDS} what they mean")
    return {name: entry for name, entry in known.items() if name in read}


_INTRODUCTION = """\
Both programs are told everything by their environment, and read it once, when they start. The
charts set it from their values ([gpu-provisioner](../../charts/gpu-provisioner/README.md),
[workspace](../../charts/workspace/README.md)); `env` (`controller.env` of gpu-provisioner) sets
what has no value, and wins over the chart's own. A value that cannot be ends the program with a
sentence that names the variable.

What a cloud needs (`AWS_…`, `AZURE_…`, `ARM_…`, `ARC_…`, `GCP_…`, `KWOK_…`, `LOCAL_…`) stands on
[its page](../clouds/index.md).
"""
_TITLES = {"gpu_provisioner": "gpu-provisioner", "workspace_controller": "workspace-controller"}


def page() -> str:
    parts = ["# Variables of the controllers\n", NOTE, _INTRODUCTION]
    for program in PROGRAMS:
        rows = [
            (code(name), code(entry.value) if entry.value else "", entry.default, entry.means)
            for name, entry in sorted(words(program).items())
        ]
        parts += [
            f"## {_TITLES[program]}\n",
            table(("variable", "chart value", "default", "meaning"), rows),
        ]
    return "\n".join(parts)
