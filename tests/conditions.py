"""All that a Workspace or RAGEngine can say of itself: in conditions, state, stage and events.

`conditions.yaml` has what each means and the test that shows it on a real API server; what the
user can do about it, and to which stage it belongs, is taken from the code that says so.
`python -m tests.conditions` writes the page; a unit test fails while it is out of date, and where
the code says something that is not in the table.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

import yaml

from apis.kaito.v1beta1 import conditions
from apis.karpenter.v1 import conditions as karpenter
from workspace_controller.workspace import stages

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGE = ROOT / "docs" / "workspace" / "conditions.md"
SUITE = TESTS / "integration" / "workspace_controller"
CODE = ROOT / "workspace_controller"

_CLAIM_STAGES = ("launch.py", "registration.py", "initialization.py")
_PLACES = {"UserError": 1, "Event": 1, "refuse": 0, "_because": 0, "_not_ready": 0, "_sum": 1}
"""In calls of these, the argument that is a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `said` is the word that users see."""

    said: str
    means: str
    of: list[str] = field(default_factory=list)
    status: str = "False"
    by: str = "the controller"
    do: str = ""
    stage: str = ""
    tests: list[str] = field(default_factory=list)

    @property
    def next_step(self) -> str:
        return stages.NEXT_STEPS.get(self.said, self.do)


@dataclass(frozen=True, slots=True)
class Table:
    conditions: tuple[Row, ...]
    states: tuple[Row, ...]
    stages: tuple[Row, ...]
    events: tuple[Row, ...]
    never: tuple[Row, ...]
    """What upstream says and we do not; `means` says why."""

    @property
    def shown(self) -> tuple[Row, ...]:
        return (*self.conditions, *self.states, *self.stages, *self.events)


@cache
def table() -> Table:
    found = yaml.safe_load((TESTS / "conditions.yaml").read_text())
    del found["tests"]  # names for those that show many
    return Table(**{part: tuple(Row(**row) for row in rows) for part, rows in found.items()})


def in_code() -> set[str]:
    """Every reason, of conditions and of events, that the controller itself can give."""
    found = set(stages.BY_REASON) | set(stages.NEXT_STEPS)
    found |= {value for name, value in vars(conditions).items() if name.startswith("REASON_")}
    for path in CODE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        found |= set(_constants(tree)) | set(_given(tree))
    return found


def of_provisioners() -> set[str]:
    """Those of this project's own, which the controller passes on."""
    claims = ROOT / "gpu_provisioner" / "nodeclaim"
    found: set[str] = set()
    for path in (claims / name for name in _CLAIM_STAGES):
        found |= set(_named(ast.parse(path.read_text()), karpenter))
    for path in (ROOT / "gpu_provisioner" / "nodepool").glob("*.py"):
        calls = (each for each in ast.walk(ast.parse(path.read_text())) if _is_call(each, "Said"))
        for call in calls:
            found |= set(_named(call, karpenter))
    types = {*karpenter.READY_DEPENDENTS, karpenter.READY, karpenter.INSTANCE_ORDERED}
    return found - types - {karpenter.REPLICAS_PROVISIONED}


def missing(tests: Iterable[str], word: str) -> list[str]:
    """Of these tests, those that are not there, or in whose module the word does not occur."""
    return [name for name in tests if not _shows(name, word)]


def page() -> str:
    found = table()
    text = (TESTS / "conditions.md").read_text()
    parts = {
        "conditions": _rows(found.conditions, _condition),
        "states": _rows(found.states, _plain),
        "stages": _rows(found.stages, _plain),
        "events": _rows(found.events, _plain),
        "never": _rows(found.never, lambda row: (", ".join(row.of), f"`{row.said}`", row.means)),
    }
    for name, rows in parts.items():
        text = text.replace(f"{{{name}}}\n", rows)
    return text


def _condition(row: Row) -> tuple[str, ...]:
    stage = stages.BY_REASON.get(row.said, row.stage)
    where = "<br>".join(f"{kind}={row.status}" for kind in row.of)
    word = f"`{row.said}`" if row.said.isidentifier() else row.said
    return word, where, row.means, row.by, stage, row.next_step, _tests(row)


def _plain(row: Row) -> tuple[str, ...]:
    return f"`{row.said}`", row.means, _tests(row)


def _tests(row: Row) -> str:
    return "<br>".join(f"`{name}`" for name in row.tests)


def _rows(rows: Iterable[Row], cells: Callable[[Row], tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(cells(row))} |\n" for row in rows)


def _constants(tree: ast.Module) -> Iterator[str]:
    """REASON_… = "…" and the like, of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if any(name.startswith(("REASON", "EVENT")) or name == "NOT_READY" for name in names):
                yield str(node.value.value)


def _given(tree: ast.AST) -> Iterator[str]:
    """What stands where a reason stands: in a call, or in `reason = …`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            at = _PLACES.get(_name(node.func), -1)
            given = node.args[at : at + 1] if at >= 0 and len(node.args) > 1 else []
            given += [each.value for each in node.keywords if each.arg == "reason"]
            for value in given:
                yield from _words(value)
        if isinstance(node, ast.Assign) and "reason" in map(_name, node.targets):
            yield from _words(node.value)


def _words(value: ast.expr) -> Iterator[str]:
    """`"A"`, `"A" if … else "B"`, and `f"{kind}Created"` for the kinds that are told of."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from (*_words(value.body), *_words(value.orelse))
    elif isinstance(value, ast.JoinedStr) and isinstance(value.values[-1], ast.Constant):
        yield from (kind + str(value.values[-1].value) for kind in ("NodeClaim", "NodePool"))


def _named(tree: ast.AST, module: ModuleType) -> Iterator[str]:
    """Values of the module's constants that are named in the code."""
    for node in ast.walk(tree):
        name = _name(node)
        value = getattr(module, name, None) if name.isupper() else None
        if isinstance(value, str) and not name.endswith("_MESSAGE"):
            yield value


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) == name


def _shows(name: str, word: str) -> bool:
    file, _, function = name.partition("::")
    path = SUITE / file
    if not path.is_file():
        return False
    text = path.read_text()
    names = {
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return function in names and word in text


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE.write_text(page())} characters\n")
