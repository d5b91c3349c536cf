"""`kaito`: manifests judged and models sized without a cluster, and a cluster explained."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kaito import diff, estimate, explain, rollback, validate
from kaito.compose import command as compose
from kaito.modelimage import command as modelimage


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="kaito",
        description="Tools for KAITO Workspaces: before they are applied, and while they run.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compose.add_parser(commands)
    diff.add_parser(commands)
    estimate.add_parser(commands)
    explain.add_parser(commands)
    modelimage.add_parser(commands)
    rollback.add_parser(commands)
    validate.add_parser(commands)
    args = parser.parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
