"""Write the charts' READMEs: `python -m localcluster.chartdocs [--check]`.

helm-docs makes each from the chart's README.md.gotmpl, Chart.yaml and the `# --` comments of its
values.yaml. With --check nothing is written; the exit status is 1 where a README is not what it
would be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from localcluster import paths
from localcluster.binaries import Binaries

CHARTS = Path(__file__).parents[1] / "charts"
_SOURCES = ("Chart.yaml", "values.yaml", "README.md.gotmpl")


class ChartDocsError(Exception):
    """helm-docs refused; the message is its own."""


def readmes(program: Path, charts: Path = CHARTS) -> dict[Path, str]:
    """Every chart's README as it should be."""
    folders = sorted(path.parent for path in charts.glob("*/Chart.yaml"))
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            copy = Path(scratch) / folder.name
            copy.mkdir()
            for name in _SOURCES:
                shutil.copy(folder / name, copy)
        flags = ("--sort-values-order=file", "--log-level=warning")
        result = subprocess.run(
            [str(program), f"--chart-search-root={scratch}", *flags],
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        made = [Path(scratch) / folder.name / "README.md" for folder in folders]
        if result.returncode or not all(path.is_file() for path in made):
            raise ChartDocsError(result.stderr.strip())
        return {
            folder / "README.md": path.read_text(encoding="utf-8")
            for folder, path in zip(folders, made, strict=True)
        }


def stale(wanted: dict[Path, str]) -> list[Path]:
    """The files that are missing or different."""
    return [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m localcluster.chartdocs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which files are stale")
    check = parser.parse_args(argv).check
    binaries = Binaries(paths.cache_directory(os.environ), paths.assets_directory(os.environ))
    wanted = readmes(binaries.path("helm-docs"))
    for path in stale(wanted):
        if check:
            print(f"{path} is stale: run `python -m localcluster.chartdocs`", file=sys.stderr)
        else:
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if check and stale(wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
