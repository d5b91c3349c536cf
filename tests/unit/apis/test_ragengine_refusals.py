"""What RAGEngine's CRD says, the webhook and `kaito validate` say in the same words."""

from __future__ import annotations

import pytest

from apis.kaito import admission
from tests import ragengine_refusals
from tests.ragengine_refusals import ASKING
from tests.refusals import FACTS, Refusal


@pytest.mark.parametrize("case", ragengine_refusals.REFUSALS, ids=lambda case: case.id)
def test_the_webhook_says_the_same(case: Refusal) -> None:
    said = [(each.path, each.message) for each in admission.refusals(case.new, FACTS, case.old)]
    assert said == [(case.field, case.message)]


@pytest.mark.parametrize("case", ragengine_refusals.REFUSALS, ids=lambda case: case.id)
def test_what_is_stored_already_is_let_be(case: Refusal) -> None:
    assert admission.refusals(case.new, FACTS, case.new) == []


def test_there_is_nothing_else_wrong_with_it() -> None:
    assert admission.refusals(ASKING, FACTS) == []
