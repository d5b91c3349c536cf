"""`-o`: one document, printed for people or for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import yaml

TABLE = "table"
WIDE = "wide"
JSON = "json"
YAML = "yaml"
NAME = "name"
TEXT = "text"

_GAP = "   "


def add_argument(parser: argparse.ArgumentParser, *choices: str, more: str = "") -> None:
    """-o with its forms, the first being what is printed without it."""
    told = f"default: {choices[0]}" + (f"; {more}" if more else "")
    parser.add_argument("-o", "--output", choices=choices, default=choices[0], help=told)


def document(value: Any, form: str) -> str | None:
    """JSON or YAML of it, without a newline at the end; None for the forms that people read."""
    if form == JSON:
        return json.dumps(value, indent=2)
    if form == YAML:
        dumped: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        return dumped.rstrip("\n")
    return None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as kubectl sets them: as wide as their widest cell, nothing behind the last one."""
    cells = [list(header), *([each or "<none>" for each in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = (
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)
