"""Field errors, and the phrases that they share: for webhook, CLI and conditions alike."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong, and where: the JSON path from the root, as `resource.instanceType`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


Errors = Iterator[FieldError]


def describe(errors: Iterable[FieldError]) -> str:
    """All of them, one a line."""
    return "\n".join(map(str, errors))


def one_of(choices: Iterable[str]) -> str:
    return " or ".join(f'"{choice}"' for choice in choices)


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """A hint where one of the choices is near (case aside), else nothing."""
    spelled = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(given.lower(), spelled, n=1, cutoff=0.6)
    return f'; did you mean "{spelled[near[0]]}"?' if near else ""
