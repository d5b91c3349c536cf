"""Write dashboards, rules and pages: `python -m observability.generate [--check]`.

With --check nothing is written; the exit status is 1 where a file is not what it would be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from observability import (
    alerts_provisioner,
    alerts_workspace,
    grafana,
    provisioner,
    reference,
    rules,
    workspaces,
)
from workspace_controller.workspace import coldstart

BOARDS = (provisioner.BOARD, workspaces.BOARD)
GROUPS = (alerts_provisioner.GROUP, alerts_workspace.GROUP)


def files(root: Path = reference.ROOT) -> dict[Path, str]:
    """Every file that is generated below the root, with its content."""
    pages = root / "docs" / "operations"
    charts = root / "charts"
    found = {program: reference.families(program) for program in reference.PROGRAMS}
    return {
        **{
            charts / each.chart / "files" / "dashboards" / f"{each.uid}.json": grafana.text(each)
            for each in BOARDS
        },
        **{
            charts / each.chart / "files" / "rules" / f"{each.name}.yaml": rules.text(each)
            for each in GROUPS
        },
        pages / "alerts.md": rules.page(GROUPS),
        pages / "metrics.md": reference.page(found, coldstart.__doc__ or ""),
    }


def stale(root: Path = reference.ROOT) -> list[Path]:
    """The files that are missing, or are not what they would be."""
    return [
        path
        for path, content in files(root).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m observability.generate")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 where stale")
    if parser.parse_args(arguments).check:
        for path in (found := stale()):
            print(f"{path.relative_to(reference.ROOT)} is not up to date: make generate")
        return 1 if found else 0
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
