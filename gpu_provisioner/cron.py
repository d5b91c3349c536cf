"""Cron's five fields, in UTC, as disruption budgets have them. Pure.

`minute hour day-of-month month day-of-week`; `*`, lists, ranges, steps and names; or one of the
macros. A day is one of the month *or* of the week where both are given, as cron has it.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MACROS = {
    "@annually": "0 0 1 1 *",
    "@yearly": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {name.upper(): at for at, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: at for at, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_YEARS = 8
"""How far to look: the longest wait there is, from one 29 February over 2100 to the next."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something begins."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    """Whether a day of the month or one of the week will do."""

    def matches(self, moment: datetime) -> bool:
        """Whether it begins in that minute."""
        return moment.minute in self.minutes and moment.hour in self.hours and self._on(moment)

    def next(self, after: datetime) -> datetime | None:
        """The first beginning after that moment; None where there is none (30 February)."""
        start = after.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        day = start.replace(hour=0, minute=0)
        for _ in range(366 * _YEARS):
            if self._on(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        if (found := day.replace(hour=hour, minute=minute)) >= start:
                            return found
            day += timedelta(days=1)
        return None

    def _on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (of_month or of_week) if self.either else (of_month and of_week)


def parse(text: str) -> Schedule:
    """ValueError, saying which field is wrong."""
    fields = _MACROS.get(text.strip(), text).split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{text!r} is no schedule of five fields and no macro")
    minutes, hours, days, months, weekdays = (
        _values(field, *about) for field, about in zip(fields, _FIELDS, strict=True)
    )
    return Schedule(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        either=not fields[2].startswith(("*", "?")) and not fields[4].startswith(("*", "?")),
    )


def _values(text: str, what: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, what, names)
            end = _number(last, what, names) if dash else (high if step else start)
        width = _number(step, what, {}) if "/" in part else 1
        if not low <= start <= end <= high or width < 1:
            raise ValueError(f"{part!r} is no {what}")
        found.update(range(start, end + 1, width))
    return frozenset(found)


def _number(text: str, what: str, names: dict[str, int]) -> int:
    if text.upper() in names:
        return names[text.upper()]
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is no {what}")
    return int(text)
