"""The table of all that a Workspace says is whole and true."""

from __future__ import annotations

import pytest

from apis.kaito.v1beta1 import conditions as c
from tests import conditions
from tests.conditions import Row
from workspace_controller.workspace import stages

TABLE = conditions.table()
ANY = "any other word"
"""The row of reasons that a foreign provisioner may make up."""


def said(rows: tuple[Row, ...]) -> list[str]:
    return [row.said for row in rows]


def test_whatever_the_code_says_is_in_the_table() -> None:
    listed = {*said(TABLE.conditions), *said(TABLE.events), *said(TABLE.never)}
    assert conditions.in_code() - listed == set()


def test_what_the_provisioner_says_is_in_the_table() -> None:
    listed = {*said(TABLE.conditions), *said(TABLE.never)}
    assert conditions.of_provisioners() - listed == set()


def test_the_table_says_nothing_that_nobody_says() -> None:
    known = conditions.in_code() | conditions.of_provisioners() | {ANY}
    assert {*said(TABLE.conditions), *said(TABLE.events)} - known == set()


def test_states_and_stages_are_whole() -> None:
    states = {value for name, value in vars(c).items() if name.startswith("STATE_")}
    assert set(said(TABLE.states)) == states
    assert set(said(TABLE.stages)) == set(stages.STAGES)


@pytest.mark.parametrize("part", [TABLE.conditions, TABLE.states, TABLE.stages, TABLE.events])
def test_nothing_is_listed_twice(part: tuple[Row, ...]) -> None:
    assert len(set(said(part))) == len(part)


@pytest.mark.parametrize("row", TABLE.shown, ids=lambda row: row.said)
def test_each_is_shown_on_a_real_api_server(row: Row) -> None:
    assert row.tests or row.said == ANY
    assert conditions.missing(row.tests, row.said) == []


@pytest.mark.parametrize("row", TABLE.conditions, ids=lambda row: row.said)
def test_what_the_code_says_of_it_is_not_said_twice(row: Row) -> None:
    assert not (row.do and row.said in stages.NEXT_STEPS)
    assert not (row.stage and row.said in stages.BY_REASON)


def test_whoever_can_do_nothing_is_told_nothing() -> None:
    for row in TABLE.conditions:
        assert row.status == "False" or not row.next_step


def test_the_page_is_up_to_date() -> None:
    assert conditions.PAGE.read_text() == conditions.page(), "run: python -m tests.conditions"
