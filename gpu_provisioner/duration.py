"""Go's durations as the NodeClaim API spells them: '1h30m'. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

_SYNTAX = re.compile(r"([0-9]+[smh])+")
_PART = re.compile(r"([0-9]+)([smh])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}


def parse(text: str) -> timedelta | None:
    """None where it is no duration of hours, minutes and seconds (such as `Never`)."""
    if not _SYNTAX.fullmatch(text):
        return None
    parts = (timedelta(**{_UNITS[unit]: int(count)}) for count, unit in _PART.findall(text))
    return sum(parts, timedelta())
