"""`kaito`: what can be known without a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kaito import estimate, validate


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="kaito", description="Tools for KAITO workspaces that need no cluster."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    estimate.add_parser(commands)
    validate.add_parser(commands)
    args = parser.parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
