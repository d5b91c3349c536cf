"""What a dashboard shows, as data: Grafana's JSON is made of it, and tests evaluate its queries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Grafana's visualisations, as far as they are needed."""

    LINES = "timeseries"
    STACK = "timeseries, stacked"
    NUMBER = "stat"
    BARS = "bargauge"
    MATRIX = "table"
    """Rows by `Panel.rows`, columns by `Panel.columns`: labels of the query's result."""


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL; `legend` as Grafana's `{{label}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One question, and what answers it."""

    title: str
    about: str
    """What it is good for, and when to worry: behind the panel's (i)."""
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    unit: str = "short"
    """Grafana's: s, short, percentunit, bytes, reqps, ops."""
    warn: float | None = None
    """A number from which on it is red."""
    none: str = ""
    """What stands there where there is nothing to show, if that is how it should be."""
    rows: str = ""
    columns: str = ""
    order: tuple[str, ...] = ()
    """Of the columns."""
    width: int = 8
    """Of 24."""


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice above the panels, of the values that a label has: `$name` in queries, a regex."""

    name: str
    label_values: str
    """As label_values(metric, label) of Grafana."""


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; `chart` is whose it is, `uid` must never change, for links are made of it."""

    chart: str
    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)
