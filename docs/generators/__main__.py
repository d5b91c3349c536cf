"""Write the generated pages: `python -m docs.generators [--check]`.

With --check nothing is written; the exit status is 1 where a page is not what it would be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from docs.generators import commands, fields, variables

REFERENCE = Path(__file__).parents[1] / "reference"


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    kinds = {
        REFERENCE / "api" / f"{kind.kind.lower()}.md": fields.page(kind) for kind in fields.KINDS
    }
    return {
        **kinds,
        REFERENCE / "cli.md": commands.page(),
        REFERENCE / "environment.md": variables.page(),
    }


def stale() -> list[Path]:
    return [path for path, text in pages().items() if not path.exists() or path.read_text() != text]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.generators", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which pages are stale")
    if parser.parse_args(argv).check:
        different = stale()
        for path in different:
            print(f"{path} is stale: run `python -m docs.generators`", file=sys.stderr)
        return 1 if different else 0
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
