"""Flags of an engine's command line as options of `inference_config.yaml`, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import yaml

from apis import engineoptions
from kaito.compose.table import ComposeError
from presets.engines import registry

Flags: TypeAlias = Mapping[str, str | bool]
"""By the option's one spelling; True for a switch that is on, False for `--no-…`."""


def flags(engine: str, words: Sequence[str]) -> dict[str, str | bool]:
    """`--name=value`, `--name value` and `--name`. ComposeError where a word is none of them."""
    found: dict[str, str | bool] = {}
    name = ""
    for word in map(str, words):
        if word.startswith("-") and not _is_number(word):
            name, equals, value = word.partition("=")
            name = engineoptions.canonical(engine, name)
            found[name] = value if equals else True
        elif name and found[name] is True:
            found[name] = word
        else:
            raise ComposeError([f'"{word}" belongs to no flag'])
    return dict(_switch(name, value) for name, value in found.items())


def of_section(engine: str, text: str) -> dict[str, str | bool]:
    """What the engine's section of the config file says, as its flags would."""
    section = engineoptions.section(yaml.safe_load(text), engine)
    return dict(_switch(name, _as_flag(value)) for name, value in section.items())


def with_flags(engine: str, text: str, before: Flags, after: Flags) -> str:
    """The config file so that it says what `after` says and `before` did not.

    ComposeError where the file wins over the flag as it is, or where a flag was taken away that is
    not the file's.
    """
    document = yaml.safe_load(text) or {}
    key = next((each for each in document if engineoptions.top(each) == engine), engine)
    section = dict(document.get(key) or {})
    spelled = {engineoptions.canonical(engine, each): each for each in section}
    from_file = not registry.ENGINES[registry_name(engine)].reads_config
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        if name in spelled and not from_file:
            raise ComposeError([f"{engine}.{spelled[name]} of the config file wins: set it there"])
        if name in after:
            section[spelled.get(name, name)] = _as_option(after[name])
        elif name in spelled:
            del section[spelled[name]]
        else:
            raise ComposeError([f"--{name} is the controller's, and cannot be taken away"])
    document[key] = section
    return yaml.safe_dump(document, sort_keys=False)


def registry_name(engine: str) -> Any:
    """The engine as the registry's key; KeyError where there is none."""
    return next(name for name in registry.ENGINES if name == engine)


def _switch(name: str, value: str | bool) -> tuple[str, str | bool]:
    return (
        (name.removeprefix("no-"), False) if value is True and name[:3] == "no-" else (name, value)
    )


def _as_flag(value: object) -> str | bool:
    """As the images read their file: an option without a value is a switch."""
    if value is None or value == "" or str(value).strip().lower() == "true":
        return True
    return False if str(value).strip().lower() == "false" else str(value)


def _as_option(value: str | bool) -> Any:
    """A number as a number, for people."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
