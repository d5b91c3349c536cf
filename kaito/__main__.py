"""`kaito`, and `kubectl kaito`: manifests judged and models sized without a cluster, and a
cluster's Workspaces deployed, followed, explained and talked to."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import PurePath

from kaito import (
    chat,
    complete,
    deploy,
    diff,
    endpoint,
    estimate,
    exits,
    explain,
    models,
    rollback,
    status,
    validate,
)
from kaito.compose import command as compose
from kaito.modelimage import command as modelimage
from kaito.version import distribution

_PLUGIN = "kubectl-kaito"
_COMMANDS = (
    chat,
    complete,
    compose,
    deploy,
    diff,
    endpoint,
    estimate,
    explain,
    modelimage,
    models,
    rollback,
    status,
    validate,
)


def parser(program: str = "kaito") -> argparse.ArgumentParser:
    """All commands; the reference and the completion are made from it."""
    told = "\n".join(f"  {number}  {text}" for number, text in exits.MEANINGS.items())
    made = argparse.ArgumentParser(
        prog=program,
        description="Tools for KAITO Workspaces: before they are applied, and while they run.",
        epilog=f"exit status:\n{told}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {distribution()}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for each in _COMMANDS:
        each.add_parser(commands)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The console scripts; kubectl runs the one of its plugin."""
    called = PurePath(sys.argv[0]).name
    made = parser("kubectl kaito" if called == _PLUGIN else "kaito")
    complete.wrap(made)
    args = made.parse_args(argv)
    try:
        status = int(args.run(args))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough, as `| head` has. Python would complain once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.DONE
    return status


def kubectl_complete() -> int:
    """The console script that kubectl asks for completions of `kubectl kaito`."""
    print(complete.kubectl(parser(), sys.argv[1:], os.environ))
    return exits.DONE


if __name__ == "__main__":
    sys.exit(main())
