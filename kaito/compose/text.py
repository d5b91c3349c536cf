"""A Compose file as text: what is meant literally, and what the shell's variables fill in.

Compose puts variables into every string of a file, so each `$` that is meant is written twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from kube.meta import Manifest


class Variable(str):
    """A text whose `${…}` Compose is to fill in."""

    __slots__ = ()


def escaped(value: Any) -> Any:
    """The document as the file has it."""
    return _mapped(value, _closed)


def meant(value: Any) -> Any:
    """What a file says, where it takes nothing from the shell."""
    return _mapped(value, lambda text: text.replace("$$", "$"))


def takes_variables(value: Any) -> bool:
    """Whether the shell has a say in what the file says there."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(takes_variables, value))
    return isinstance(value, str) and "$" in value.replace("$$", "")


def dump(documents: list[Manifest]) -> str:
    """As YAML, several as a stream; texts of several lines stay readable."""
    return yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000
    )


def _closed(text: str) -> str:
    return str(text) if isinstance(text, Variable) else text.replace("$", "$$")


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """The same value twice is written twice."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
