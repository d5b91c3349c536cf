"""The acceptance list (`cases.yaml`) and the tests that stand for it, as docs/nodeclaim-cases.md.

A test belongs to a case when its name, or the id of one of its parameters, holds `case_NN`.
`python -m tests.cases` writes the table; a unit test fails while it is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "nodeclaim-cases.md"
REAL = ("integration", "e2e")
"""Folders of tests that run against a real API server."""

_NUMBER = re.compile(r"case[_-](\d{2})\b|case[_-](\d{2})_")

HEAD = """# The life of a NodeClaim, case by case

What the provisioner must do, as it can be seen from outside, and the tests that show it: against a
real API server, with a cloud at the edge of the provider's protocol. Where we differ from Karpenter
the verdict says how, and why.

| case | area | what holds | verdict | tests |
| --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the list."""

    case: int
    area: str
    claim: str
    verdict: str = "as Karpenter"


def listed() -> list[Case]:
    return [Case(**entry) for entry in yaml.safe_load((TESTS / "cases.yaml").read_text())]


@cache
def tests() -> Mapping[int, list[str]]:
    """By case: `integration/…/test_x.py::test_y`."""
    found: dict[int, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for number, name in _of(path):
            names = found.setdefault(number, [])
            if name not in names:
                names.append(name)
    return found


def table() -> str:
    known = tests()
    rows = (
        f"| {case.case} | {case.area} | {case.claim} | {case.verdict} | "
        + "<br>".join(f"`{name}`" for name in known.get(case.case, []))
        + " |\n"
        for case in listed()
    )
    return HEAD + "".join(rows)


def _of(path: Path) -> Iterator[tuple[int, str]]:
    place = path.relative_to(TESTS).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test"
        ):
            words = [node.name, *_words(node.decorator_list)]
            for number in sorted({n for word in words for n in _numbers(word)}):
                yield number, f"{place}::{node.name}"


def _words(decorators: list[ast.expr]) -> Iterator[str]:
    for decorator in decorators:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _numbers(word: str) -> Iterator[int]:
    for match in _NUMBER.finditer(word):
        yield int(match.group(1) or match.group(2))


if __name__ == "__main__":
    sys.stdout.write(f"{TABLE.write_text(table())} characters\n")
