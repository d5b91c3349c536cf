"""The page on training_config.yaml: `python -m tests.training_config` writes it from
`training_config.md` and the tables that the webhook checks by. A unit test fails while it is out of
date."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from apis.trainingfields import CHOICES, TYPES, VERSIONS
from apis.trainingkeys import GONE, OWNED, RANGES, RENAMED, TEMPLATES, UNFIT

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "workspace" / "training-config.md"

_KINDS = {"bool": "true/false", "int": "whole number", "float": "number", "str": "text",
          "list": "list", "map": "map"}  # fmt: skip


def page() -> str:
    text = (TESTS / "training_config.md").read_text()
    parts = {"templates": _templates(), "owned": _owned(), "options": _options()}
    for name, lines in parts.items():
        text = text.replace(f"<!-- {name} -->\n", "".join(lines))
    versions = ", ".join(f"{name} {version}" for name, version in VERSIONS.items())
    return text.replace("<!-- versions -->", versions).rstrip() + "\n"


def _templates() -> Iterator[str]:
    for section in TYPES:
        cells = [
            ", ".join(
                f"`{key}: {json.dumps(value)}`"
                for key, value in TEMPLATES[method].get(section, {}).items()
            )
            for method in ("lora", "qlora", "full")
        ]
        if any(cells):
            yield f"| {section} | {' | '.join(cells)} |\n"


def _owned() -> Iterator[str]:
    for section, keys in OWNED.items():
        shared: dict[tuple[str, str], list[str]] = {}
        for key, owned in keys.items():
            shared.setdefault((owned.owner, owned.remedy), []).append(f"`{key}`")
        for (owner, remedy), names in shared.items():
            yield f"| {section} | {', '.join(names)} | {owner} | {remedy} |\n"


def _options() -> Iterator[str]:
    for section, keys in TYPES.items():
        yield f"### {section}\n\n| Option | Type | Choices or range | Was called |\n"
        yield "|---|---|---|---|\n"
        for key, kinds in keys.items():
            if key in OWNED.get(section, {}) or kinds == "object":
                continue
            before = [old for old, new in RENAMED.get(section, {}).items() if new == key]
            types = ", ".join(_KINDS[kind] for kind in kinds.split("|") if kind in _KINDS)
            names = ", ".join(f"`{old}`" for old in before)
            yield f"| `{key}` | {types} | {_allowed(section, key)} | {names} |\n"
        yield "\n"


def _allowed(section: str, key: str) -> str:
    if key in GONE.get(section, "").split():
        return "without effect"
    if (allowed := RANGES.get(section, {}).get(key)) is not None:
        return str(allowed)
    unfit = UNFIT.get(section, {}).get(key, ("", ""))[0].split()
    offered = CHOICES.get(section, {}).get(key, ())
    return ", ".join(f"`{each}`" for each in offered if each not in unfit and "[" not in each)


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE.write_text(page())} characters\n")
