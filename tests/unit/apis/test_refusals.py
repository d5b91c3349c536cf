"""What the CRD says, the webhook and `kaito validate` say in the same words."""

from __future__ import annotations

import pytest

from apis.kaito import admission
from tests import refusals
from tests.refusals import Refusal


@pytest.mark.parametrize("case", refusals.REFUSALS, ids=lambda case: case.id)
def test_the_webhook_says_the_same(case: Refusal) -> None:
    said = [
        (each.path, each.message) for each in admission.refusals(case.new, refusals.FACTS, case.old)
    ]
    assert (case.field, case.message) in said


@pytest.mark.parametrize("case", refusals.UPDATED, ids=lambda case: case.id)
def test_what_is_stored_already_is_let_be(case: Refusal) -> None:
    assert admission.refusals(case.new, refusals.FACTS, case.new) == []


@pytest.mark.parametrize("good", [refusals.SERVED, refusals.TUNED], ids=["served", "tuned"])
def test_there_is_nothing_else_wrong_with_them(good) -> None:
    assert admission.refusals(good, refusals.FACTS) == []
