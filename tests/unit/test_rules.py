"""The tables of rules are whole and true: each is kept where it says, and tested."""

from __future__ import annotations

import ast

import pytest

from apis.kaito import validation
from apis.kaito.validation import rag
from tests import rules

_ASKED = {
    "Workspace": (*validation._CREATE, *validation._UPDATE),
    "RAGEngine": (*(each.rule for each in rag._CREATE), *rag._UPDATE),
}
_UPSTREAM = {
    "Workspace": [
        *(f"W-C{number}" for number in range(1, 32)),
        *(f"W-U{number}" for number in range(1, 12)),
    ],
    "RAGEngine": [f"R-{number}" for number in range(1, 8)],
}


def _of(kind: str) -> list[rules.Rule]:
    return [rule for rule in rules.listed() if rule.kind == kind]


@pytest.mark.parametrize("kind", rules.KINDS)
def test_every_rule_of_upstream_is_listed_once(kind: str) -> None:
    upstream = [rule.rule for rule in _of(kind) if rule.rule.startswith(("W-", "R-"))]
    assert upstream == _UPSTREAM[kind]


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
@pytest.mark.parametrize("kind", rules.KINDS)
def test_the_crd_has_these_rules_and_no_others(kind: str, version: str) -> None:
    listed = {
        (place, name) for rule in _of(kind) for place, names in rule.cel.items() for name in names
    }
    assert rules.in_crd(kind, version) == listed


@pytest.mark.parametrize("kind", rules.KINDS)
def test_the_webhook_asks_these_and_no_others(kind: str) -> None:
    asked = {f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}" for rule in _ASKED[kind]}
    assert {name for rule in _of(kind) for name in rule.asks} == asked


@pytest.mark.parametrize("rule", rules.listed(), ids=lambda rule: rule.rule)
def test_each_rule_has_a_test(rule: rules.Rule) -> None:
    assert rules.tests().get(rule.rule)


@pytest.mark.parametrize("rule", rules.listed(), ids=lambda rule: rule.rule)
def test_each_rule_of_the_crd_is_shown_on_a_real_api_server(rule: rules.Rule) -> None:
    kind = rules.KINDS[rule.kind]
    shown = {case.message for case in kind.refusals if case.rule == rule.rule}
    names = {name for names in rule.cel.values() for name in names}
    assert {kind.messages()[name] for name in names} <= shown


@pytest.mark.parametrize("test", [test for kind in rules.KINDS.values() for test in kind.walks])
def test_the_tests_that_walk_the_refusals_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((rules.TESTS / file).read_text())
    assert name in {getattr(node, "name", "") for node in ast.walk(tree)}


@pytest.mark.parametrize("kind", rules.KINDS)
def test_every_message_is_of_a_rule(kind: str) -> None:
    own = {name for name in vars(rules.KINDS[kind].words[-1]) if name.isupper()}
    used = {name for _, name in rules.in_crd(kind, "v1beta1")}
    assert own <= used, "words that are not shared belong to the rule that says them"


@pytest.mark.parametrize("kind", rules.KINDS)
def test_the_page_is_up_to_date(kind: str) -> None:
    assert rules.KINDS[kind].page.read_text() == rules.page(kind), "run: python -m tests.rules"
