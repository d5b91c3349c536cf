"""The command line, as argparse knows it: usage, arguments, defaults, exit statuses."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from unittest import mock

from docs.generators.markdown import NOTE, code, table
from kaito import exits
from kaito.__main__ import parser

_SHIFT = "\n" + " " * len("usage: ")

_INTRODUCTION = """\
`kaito` is in `.venv/bin` after `make setup`, and in the controllers' image. As `kubectl-kaito` on
the `PATH` the same program is kubectl's plugin: `kubectl kaito`. What stands here is what `--help`
says.
"""


def commands(root: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Each command that runs something, in the order of the alphabet."""
    found = [action for action in root._actions if isinstance(action, argparse._SubParsersAction)]
    if not found:
        yield root
    for action in found:
        for name in sorted(action.choices):
            yield from commands(action.choices[name])


def page() -> str:
    root = parser()
    told = [(str(number), text) for number, text in exits.MEANINGS.items()]
    statuses = "## Exit statuses\n\n" + table(("status", "meaning"), told)
    parts = ["# The kaito command\n", NOTE, _INTRODUCTION, statuses]
    parts += [_section(command) for command in commands(root)]
    return "\n".join(parts)


def _section(command: argparse.ArgumentParser) -> str:
    shown = [action for action in command._actions if action.help != argparse.SUPPRESS]
    rows = [(_names(action), _words(command, action)) for action in shown]
    with mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}):
        usage = command.format_usage().removeprefix("usage: ").replace(_SHIFT, "\n").rstrip()
    return "\n".join(
        (
            f"## {command.prog}\n",
            f"{command.description or ''}\n",
            f"```text\n{usage}\n```\n",
            table(("argument", "meaning"), rows),
            *([f"{command.epilog}\n"] if command.epilog else []),
        )
    )


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return code(str(action.metavar or action.dest))
    value = "" if action.nargs == 0 else f" {_metavar(action)}"
    return ", ".join(code(f"{name}{value}") for name in action.option_strings)


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices:
        return "{" + ",".join(str(choice) for choice in action.choices) + "}"
    return action.dest.upper()


def _words(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = command._get_formatter()._expand_help(action) if action.help else ""
    required = "**required** " if action.required and action.option_strings else ""
    said = "default" in text or action.default in (None, "", False, argparse.SUPPRESS, [])
    return f"{required}{text}" + ("" if said else f" (default: {action.default})")
