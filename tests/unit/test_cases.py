"""The acceptance list is whole, and its table true."""

from __future__ import annotations

import pytest

from tests import cases


def test_the_list_has_every_case_once() -> None:
    assert [case.case for case in cases.listed()] == list(range(1, 71))


@pytest.mark.parametrize("case", cases.listed(), ids=lambda case: f"{case.case}")
def test_each_case_is_shown_on_a_real_api_server(case: cases.Case) -> None:
    places = {name.partition("/")[0] for name in cases.tests().get(case.case, [])}
    assert places & set(cases.REAL), case.claim


def test_the_table_is_up_to_date() -> None:
    assert cases.TABLE.read_text() == cases.table(), "run: python -m tests.cases"
