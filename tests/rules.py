"""The rules of a Workspace (`rules.yaml`), where each stands, and its tests, as a page for users.

A test belongs to a rule when its docstring, or the id of one of its parameters, holds the rule's
id; and each of `refusals.py` to the rule that it breaks. `python -m tests.rules` writes the page; a
unit test fails while it is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from apis.definitions import WORKSPACE
from apis.kaito import messages
from tests import refusals

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "workspace" / "validation.md"
OF_REFUSALS = (
    "integration/workspace_controller/test_admission.py::test_the_api_server_refuses_it_alone",
    "unit/apis/test_refusals.py::test_the_webhook_says_the_same",
)

_ID = re.compile(r"\bW-[CU]\d+\b")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table."""

    rule: str
    refuses: str
    cel: Mapping[str, list[str]] = field(default_factory=dict)
    asks: list[str] = field(default_factory=list)
    verdict: str = "as KAITO"

    def where(self) -> str:
        crd = [f"CRD `{place or '(root)'}`" for place in self.cel]
        return ", ".join([*crd, *(f"webhook `{name}`" for name in self.asks)]) or "status"


@cache
def listed() -> tuple[Rule, ...]:
    return tuple(Rule(**entry) for entry in yaml.safe_load((TESTS / "rules.yaml").read_text()))


def in_crd(version: str) -> set[tuple[str, str]]:
    """Place and name of the message of each CEL rule that the CRD has."""
    names = {text: name for name, text in vars(messages).items() if name.isupper()}
    spec = WORKSPACE.manifest()["spec"]
    (schema,) = (each["schema"] for each in spec["versions"] if each["name"] == version)
    found = _cel(schema["openAPIV3Schema"], "")
    return {(place, names.get(text, text)) for place, text in found}


@cache
def tests() -> Mapping[str, list[str]]:
    """By rule: `unit/…/test_x.py::test_y`."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for rule, name in _of(path):
            _add(found, rule, name)
    for case in refusals.REFUSALS:
        for name in OF_REFUSALS:
            _add(found, case.rule, name)
    return found


def page() -> str:
    known = tests()
    rows = (
        f"| {rule.rule} | {rule.refuses} | {rule.where()} | {rule.verdict} | "
        + "<br>".join(f"`{name}`" for name in sorted(known.get(rule.rule, [])))
        + " |\n"
        for rule in listed()
    )
    return (TESTS / "rules.md").read_text() + "".join(rows)


def _add(found: dict[str, list[str]], rule: str, name: str) -> None:
    names = found.setdefault(rule, [])
    if name not in names:
        names.append(name)


def _cel(schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield place, rule["message"]
    for name, below in schema.get("properties", {}).items():
        yield from _cel(below, f"{place}.{name}".lstrip("."))
    if "items" in schema:
        yield from _cel(schema["items"], f"{place}[]")


def _of(path: Path) -> Iterator[tuple[str, str]]:
    place = path.relative_to(TESTS).as_posix()
    own = {rule.rule for rule in listed() if not _ID.fullmatch(rule.rule)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test"
        ):
            words = [ast.get_docstring(node) or "", *_ids(node.decorator_list)]
            for rule in sorted({each for word in words for each in _rules(word, own)}):
                yield rule, f"{place}::{node.name}"


def _ids(decorators: list[ast.expr]) -> Iterator[str]:
    for decorator in decorators:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _rules(word: str, own: set[str]) -> Iterator[str]:
    yield from _ID.findall(word)
    if word in own:
        yield word


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE.write_text(page())} characters\n")
