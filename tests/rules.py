"""The rules of our kinds (`rules.yaml`), where each stands, and its tests, as pages for users.

A test belongs to a rule when its docstring, or the id of one of its parameters, holds the rule's
id; and each of `refusals.py` and `ragengine_refusals.py` to the rule that it breaks.
`python -m tests.rules` writes the pages; a unit test fails while one is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from apis.definitions import RAG_ENGINE, WORKSPACE
from apis.kaito import messages, ragmessages
from kube.crd import Definition
from tests import ragengine_refusals, refusals
from tests.refusals import Refusal

TESTS = Path(__file__).parent
_DOCS = TESTS.parent / "docs"
_INTEGRATION = "integration/workspace_controller"

_ID = re.compile(r"\bW-[CU]\d+\b|\bR-\d\b")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that has rules: its page, what stands above the table, and what breaks them."""

    definition: Definition
    page: Path
    above: Path
    words: tuple[ModuleType, ...]
    """Where its messages stand; those of the last are its own."""
    refusals: tuple[Refusal, ...]
    walks: tuple[str, ...]
    """The tests that walk the refusals."""

    def messages(self) -> dict[str, str]:
        """Name → text."""
        return {name: text for each in self.words for name, text in _texts(each)}


KINDS = {
    "Workspace": Kind(
        WORKSPACE,
        _DOCS / "workspace" / "validation.md",
        TESTS / "rules.md",
        (messages,),
        refusals.REFUSALS,
        (
            f"{_INTEGRATION}/test_admission.py::test_the_api_server_refuses_it_alone",
            "unit/apis/test_refusals.py::test_the_webhook_says_the_same",
        ),
    ),
    "RAGEngine": Kind(
        RAG_ENGINE,
        _DOCS / "rag" / "validation.md",
        TESTS / "ragengine_rules.md",
        (messages, ragmessages),
        ragengine_refusals.REFUSALS,
        (
            f"{_INTEGRATION}/test_ragengine_admission.py::test_the_api_server_refuses_it_alone",
            "unit/apis/test_ragengine_refusals.py::test_the_webhook_says_the_same",
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a table."""

    rule: str
    refuses: str
    cel: Mapping[str, list[str]] = field(default_factory=dict)
    asks: list[str] = field(default_factory=list)
    verdict: str = "as KAITO"
    kind: str = "Workspace"

    def where(self) -> str:
        crd = [f"CRD `{place or '(root)'}`" for place in self.cel]
        return ", ".join([*crd, *(f"webhook `{name}`" for name in self.asks)]) or "status"


@cache
def listed() -> tuple[Rule, ...]:
    return tuple(Rule(**entry) for entry in yaml.safe_load((TESTS / "rules.yaml").read_text()))


def in_crd(kind: str, version: str) -> set[tuple[str, str]]:
    """Place and name of the message of each CEL rule that the CRD has."""
    names = {text: name for name, text in KINDS[kind].messages().items()}
    spec = KINDS[kind].definition.manifest()["spec"]
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
    for kind in KINDS.values():
        for case in kind.refusals:
            for name in kind.walks:
                _add(found, case.rule, name)
    return found


def page(kind: str) -> str:
    known = tests()
    rows = (
        f"| {rule.rule} | {rule.refuses} | {rule.where()} | {rule.verdict} | "
        + "<br>".join(f"`{name}`" for name in sorted(known.get(rule.rule, [])))
        + " |\n"
        for rule in listed()
        if rule.kind == kind
    )
    return KINDS[kind].above.read_text() + "".join(rows)


def _texts(module: ModuleType) -> Iterator[tuple[str, str]]:
    return ((name, text) for name, text in vars(module).items() if name.isupper())


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
    for name, kind in KINDS.items():
        kind.page.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.write(f"{kind.page.write_text(page(name))} characters\n")
