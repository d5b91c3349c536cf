"""Boards as Grafana's JSON, by its Foundation SDK (for Grafana 11.6; later ones read it too)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as enums
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as queries

from observability.panel import Board, Kind, Panel, Query, Variable

_HEIGHT = {Kind.NUMBER: 4}
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
AT_ONCE = (Kind.NUMBER, Kind.BARS, Kind.MATRIX)
"""These show one moment, the last one."""


def text(board: Board) -> str:
    """The file: stable, so that a change shows as what it is."""
    encoded = JSONEncoder(sort_keys=True, indent=2).encode(_build(board))
    return f"{encoded}\n"


def _build(board: Board) -> models.Dashboard:
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(["kaito", "generated"])
        .refresh("1m")
        .time("now-6h", "now")
        .timezone("browser")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
        )
    )
    for variable in board.variables:
        built = built.with_variable(_variable(variable))
    for row in board.rows:
        built = built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(_panel(panel))
    return built.build()


def _variable(variable: Variable) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(variable.name)
        .datasource(_SOURCE)
        .query(f"label_values({variable.label_values})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def _panel(panel: Panel) -> Any:
    made = _MAKERS[panel.kind](panel)
    made = (
        made.title(panel.title)
        .description(panel.about)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(_HEIGHT.get(panel.kind, 8))
    )
    if panel.kind in (Kind.LINES, Kind.STACK):
        made = made.min(0)
    if panel.unit == "short":
        made = made.decimals(0) if panel.kind in AT_ONCE else made
    if panel.none:
        made = made.no_value(panel.none)
    made = made.thresholds(_thresholds(panel))
    for letter, query in zip("ABCDEFGHIJ", panel.queries, strict=False):
        made = made.with_target(_target(query, letter, panel.kind))
    return made


def _target(query: Query, letter: str, kind: Kind) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter)
    target = target.datasource(_SOURCE)
    if kind is Kind.MATRIX:
        return target.instant().format(queries.PromQueryFormat.TABLE)
    return target.instant() if kind in AT_ONCE else target.range()


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green")]
    if panel.warn is not None:
        steps.append(models.Threshold(value=panel.warn, color="red"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> lines.Panel:
    made = (
        lines.Panel()
        .line_width(1)
        .fill_opacity(40 if panel.kind is Kind.STACK else 10)
        .show_points(enums.VisibilityMode.AUTO)
        .tooltip(common.VizTooltipOptions().mode(enums.TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(enums.LegendDisplayMode.LIST)
            .placement(enums.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if panel.kind is Kind.STACK:
        made = made.stacking(common.StackingConfig().mode(enums.StackingMode.NORMAL))
    return made


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _number(panel: Panel) -> stat.Panel:
    named = enums.BigValueTextMode.VALUE_AND_NAME
    return (
        stat.Panel()
        .reduce_options(_last())
        .text_mode(named)
        .graph_mode(enums.BigValueGraphMode.NONE)
    )


def _bars(_: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .reduce_options(_last())
        .orientation(enums.VizOrientation.HORIZONTAL)
        .display_mode(enums.BarGaugeDisplayMode.BASIC)
        .min(0)
    )


def _matrix(panel: Panel) -> table.Panel:
    grouping = {"rowField": panel.rows, "columnField": panel.columns, "valueField": "Value"}
    order = (f"{panel.rows}\\{panel.columns}", *panel.order)
    places = {"indexByName": {name: place for place, name in enumerate(order)}}
    return (
        table.Panel()
        .with_transformation(
            models.DataTransformerConfig(id_val="groupingToMatrix", options=grouping)
        )
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=places))
    )


_MAKERS: Mapping[Kind, Callable[[Panel], Any]] = {
    Kind.LINES: _lines,
    Kind.STACK: _lines,
    Kind.NUMBER: _number,
    Kind.BARS: _bars,
    Kind.MATRIX: _matrix,
}
