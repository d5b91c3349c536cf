"""Completion in shells: names of the cluster's Workspaces, of presets and instance types.

argcomplete asks the program itself at each Tab, so that what is offered is what there is.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import argcomplete
from argcomplete.io import warn
from argcomplete.shell_integration import shellcode

from apis.kaito.v1beta1.workspace import WORKSPACES
from kaito import cluster, exits
from kube.config import ConfigError
from kube.errors import KubeError

SHELLS = ("bash", "zsh", "fish")
PROGRAMS = ("kaito", "kubectl-kaito")

_PATIENCE = 2.0
# cobra's: offer no file names beside these words.
_NO_FILES = ":4"


def of(action: argparse.Action, completer: Callable[..., Iterable[str]]) -> argparse.Action:
    """The argument, completed by that."""
    action.completer = completer  # type: ignore[attr-defined]
    return action


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`completion` with its argument; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "completion",
        help="the script that lets a shell complete commands, flags and names",
        description="Print the completion script of a shell, for `kaito` and `kubectl-kaito`:"
        ' `eval "$(kaito completion bash)"`. kubectl completes `kubectl kaito` by'
        " itself (from 1.26 on) where kubectl_complete-kaito is on the PATH, which is installed"
        " beside this program. Exit status 0.",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    print(shellcode(list(PROGRAMS), shell=args.shell))
    return exits.DONE


def workspaces(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Names in the namespace that was given so far; none where the cluster does not say."""
    try:
        names = asyncio.run(_workspaces(parsed_args))
    except (ConfigError, KubeError, OSError, aiohttp.ClientError) as error:
        warn(f"Workspaces cannot be listed: {error}")
        return []
    return [name for name in names if name.startswith(prefix)]


def presets(prefix: str, **_: object) -> list[str]:
    """Names of the catalogue."""
    from presets import catalog

    return [name for name in catalog.load().names() if name.startswith(prefix)]


def instance_types(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Of the cloud that was given so far."""
    import cloudproviders

    known = cloudproviders.instance_types(getattr(parsed_args, "cloud", "") or "azure")
    return [name for name in known if name.startswith(prefix)]


def kubectl(
    parser: argparse.ArgumentParser, words: Sequence[str], environment: MutableMapping[str, str]
) -> str:
    """What may stand in place of the last of `words`, in the form that kubectl expects of plugins:
    a line each, and a directive at the end. `environment` is the process's: argcomplete asks it."""
    *before, last = words or [""]
    line = f"{shlex.join([parser.prog, *before])} {last}"
    told = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line.encode())),
    }
    environment.update(told)
    found = io.StringIO()
    with suppress(SystemExit):
        argcomplete.autocomplete(
            parser, always_complete_options=False, exit_method=sys.exit, output_stream=found
        )
    return "\n".join([*found.getvalue().splitlines(), _NO_FILES])


def wrap(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end; else do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        argcomplete.autocomplete(parser, always_complete_options=False)


async def _workspaces(args: argparse.Namespace) -> list[str]:
    everywhere: Any = getattr(args, "all_namespaces", False)
    async with asyncio.timeout(_PATIENCE), cluster.client(args) as client:
        namespace = "" if everywhere else cluster.namespace(args)
        found = await client.list(WORKSPACES, namespace=namespace)
    return sorted(each.metadata.name for each in found.items)
