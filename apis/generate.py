"""Write the CRDs from the models: `python -m apis.generate [--check]`.

In a source tree the charts get their copies as well, since Helm packs only what lies in a chart.
With --check nothing is written; the exit status is 1 where a file is not what it would be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from apis.definitions import (
    DEFINITIONS,
    NODE_CLAIM,
    NODE_CLASSES,
    NODE_POOL,
    RAG_ENGINE,
    WORKSPACE,
)
from kube.crd import Definition

ROOT = Path(__file__).parent.parent

_CHARTS = {
    "workspace/files/crds": (WORKSPACE, RAG_ENGINE),
    "kaito-crds/files/crds": (WORKSPACE, RAG_ENGINE),
    "karpenter-crds/files/crds": (NODE_CLAIM, NODE_POOL),
    "karpenter-crds/files/nodeclasses": NODE_CLASSES,
}

_HEADER = "# Generated from apis/ by `python -m apis.generate`. Do not edit.\n"


class _Plain(yaml.SafeDumper):
    """Without anchors: the same part in two places is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def file_name(definition: Definition) -> str:
    return f"{definition.group}_{definition.plural}.yaml"


def text(definition: Definition) -> str:
    """The file's content; keys in a fixed order, so that a change shows as what it is."""
    body = yaml.dump(
        definition.manifest(), Dumper=_Plain, sort_keys=True, width=100, allow_unicode=True
    )
    return f"{_HEADER}---\n{body}"


def files(root: Path = ROOT) -> dict[Path, str]:
    """Every file that is generated below the root, with its content."""
    charts = root / "charts"
    wanted = {root / "apis/crds" / file_name(each): text(each) for each in DEFINITIONS}
    if charts.is_dir():
        wanted |= {
            charts / folder / file_name(each): text(each)
            for folder, definitions in _CHARTS.items()
            for each in definitions
        }
    return wanted


def stale(root: Path = ROOT) -> list[Path]:
    """The files that are missing or differ from their models."""
    return [path for path, content in files(root).items() if _read(path) != content]


def write(root: Path = ROOT) -> None:
    for path, content in files(root).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m apis.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which files are stale")
    if not parser.parse_args(argv).check:
        write()
        return 0
    different = stale()
    for path in different:
        print(f"{path} is stale: run `python -m apis.generate`", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
