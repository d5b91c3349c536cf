"""An alert, what it means, what to do at three in the morning, and how it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PAGE = "page"
"""Somebody is woken: users notice, or money is burnt by the hour."""
TICKET = "ticket"
"""The next working day will do."""

Series = Mapping[str, str]
"""Of a test: series → values, in promtool's notation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """`fires` and `rests`: series with which, after `at` samples, it fires and does not."""

    name: str
    expr: str
    wait: str = "0m"
    """How long it must hold."""
    severity: str
    summary: str
    """One line, with Prometheus' templates."""
    meaning: str
    steps: tuple[str, ...]
    """Markdown; commands in backquotes at the line's end, as `sentence: `command``."""
    fires: Series
    rests: Series = field(default_factory=dict)
    at: int = 90
    """How many samples later it is looked at."""
    every: str = "1m"
    """Between two samples."""

    @property
    def anchor(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Group:
    """The alerts of a chart."""

    chart: str
    name: str
    alerts: tuple[Alert, ...]
    before: str
    """What every runbook of the group starts with, as Markdown."""
