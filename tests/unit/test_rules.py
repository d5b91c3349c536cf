"""The table of rules is whole and true: each is kept where it says, and tested."""

from __future__ import annotations

import ast

import pytest

from apis.kaito import messages, validation
from tests import refusals, rules

_ASKED = {
    f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}"
    for rule in (*validation._CREATE, *validation._UPDATE)
}


def test_every_rule_of_upstream_is_listed_once() -> None:
    upstream = [rule.rule for rule in rules.listed() if rule.rule.startswith("W-")]
    assert upstream == [
        *(f"W-C{number}" for number in range(1, 32)),
        *(f"W-U{number}" for number in range(1, 12)),
    ]


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_the_crd_has_these_rules_and_no_others(version: str) -> None:
    listed = {
        (place, name)
        for rule in rules.listed()
        for place, names in rule.cel.items()
        for name in names
    }
    assert rules.in_crd(version) == listed


def test_the_webhook_asks_these_and_no_others() -> None:
    assert {name for rule in rules.listed() for name in rule.asks} == _ASKED


@pytest.mark.parametrize("rule", rules.listed(), ids=lambda rule: rule.rule)
def test_each_rule_has_a_test(rule: rules.Rule) -> None:
    assert rules.tests().get(rule.rule)


@pytest.mark.parametrize("rule", rules.listed(), ids=lambda rule: rule.rule)
def test_each_rule_of_the_crd_is_shown_on_a_real_api_server(rule: rules.Rule) -> None:
    shown = {case.message for case in refusals.REFUSALS if case.rule == rule.rule}
    names = {name for names in rule.cel.values() for name in names}
    assert {getattr(messages, name) for name in names} <= shown


@pytest.mark.parametrize("test", rules.OF_REFUSALS)
def test_the_tests_that_walk_the_refusals_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((rules.TESTS / file).read_text())
    assert name in {getattr(node, "name", "") for node in ast.walk(tree)}


def test_every_message_is_of_a_rule() -> None:
    said = {text for name, text in vars(messages).items() if name.isupper()}
    used = {getattr(messages, name) for _, name in rules.in_crd("v1beta1")}
    assert said == used, "words that are not shared belong to the rule that says them"


def test_the_page_is_up_to_date() -> None:
    assert rules.PAGE.read_text() == rules.page(), "run: python -m tests.rules"
