"""Cron schedules, against a matcher that looks at every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_provisioner import cron

START = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "then"),
    [
        pytest.param("* * * * *", "2026-01-01T10:00:30", "2026-01-01T10:01", id="each minute"),
        pytest.param("0 9 * * mon-fri", "2026-01-02T09:00", "2026-01-05T09:00", id="weekdays"),
        pytest.param("*/20 8-9 * * *", "2026-01-01T09:40", "2026-01-02T08:00", id="steps"),
        pytest.param("0 0 1 */3 *", "2026-01-01T00:00", "2026-04-01T00:00", id="quarters"),
        pytest.param("30 4 1,15 * 5", "2026-01-03T00:00", "2026-01-09T04:30", id="either day"),
        pytest.param("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00", id="leap"),
        pytest.param("0 0 * * 7", "2026-01-01T00:00", "2026-01-04T00:00", id="Sunday is 7 too"),
        pytest.param("0 0 ? JAN SUN", "2026-01-04T00:00", "2026-01-11T00:00", id="names"),
        pytest.param("5/20 0 * * *", "2026-01-01T00:06", "2026-01-01T00:25", id="from 5 on"),
        pytest.param("@hourly", "2026-01-01T00:00", "2026-01-01T01:00", id="macro"),
        pytest.param("@weekly", "2026-01-01T00:00", "2026-01-04T00:00", id="weekly"),
        pytest.param("@annually", "2026-01-01T00:00", "2027-01-01T00:00", id="annually"),
    ],
)
def test_next(schedule: str, after: str, then: str) -> None:
    assert cron.parse(schedule).next(at(after)) == at(then)


def test_a_day_that_never_comes() -> None:
    assert cron.parse("0 0 30 2 *").next(START) is None


WRONG = (
    ("* * * *", "five fields"),
    ("", "five fields"),
    ("@often", "five fields"),
    ("60 * * * *", "no minute"),
    ("5-1 * * * *", "no minute"),
    ("*/0 * * * *", "no minute"),
    ("a * * * *", "no minute"),
    ("1, * * * *", "no minute"),
    ("-1 * * * *", "no minute"),
    ("² * * * *", "no minute"),
    ("* 24 * * *", "no hour"),
    ("* * 0 * *", "no day of the month"),
    ("* * * 13 *", "no month"),
    ("* * * * 8", "no day of the week"),
)


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_what_is_no_schedule(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        cron.parse(text)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high)
    span = st.tuples(one, one).map(sorted).map(lambda ends: f"{ends[0]}-{ends[1]}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, high + 1)).map(
        lambda both: f"{both[0]}/{both[1]}"
    )
    listed = st.lists(st.one_of(one.map(str), span, step), min_size=1, max_size=3)
    return st.one_of(st.just("*"), listed.map(",".join))


_SCHEDULES = st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), st.just("*"), _field(0, 6)).map(
    " ".join
)


@settings(max_examples=80, deadline=None)
@given(_SCHEDULES, st.integers(0, 3 * 366 * 24 * 60))
def test_next_is_the_first_minute_that_matches(text: str, minutes: int) -> None:
    schedule, after = cron.parse(text), START + timedelta(minutes=minutes, seconds=30)
    moment = after.replace(second=0) + timedelta(minutes=1)
    found = schedule.next(after)
    for _ in range(7 * 24 * 60):
        if schedule.matches(moment):
            assert found == moment
            return
        moment += timedelta(minutes=1)
    assert found is None or found >= moment
