"""When to look at a pool that the cloud works at: soon at first, then ever less often. Pure."""

from __future__ import annotations

from collections.abc import Sequence

CREATE_LOOKS = (30.0, 120.0, 240.0)
"""Seconds from the order. A success shows itself by its Node; looks are for failures."""
DELETE_LOOKS = (20.0, 60.0, 120.0)
"""Seconds from the call that began the end."""
ABORT_LOOKS = (3.0, 10.0, 20.0)
REPEAT_SECONDS = 120.0
"""Between looks once those are over."""


def last_due(age: float, looks: Sequence[float]) -> float:
    """The look that should have been taken by now, as seconds from the beginning; 0: none."""
    if age < looks[0]:
        return 0.0
    if age >= looks[-1]:
        return looks[-1] + (age - looks[-1]) // REPEAT_SECONDS * REPEAT_SECONDS
    return max(each for each in looks if each <= age)


def next_due(age: float, looks: Sequence[float]) -> float:
    """The next one."""
    if age >= looks[-1]:
        return last_due(age, looks) + REPEAT_SECONDS
    return min(each for each in looks if each > age)
