"""Files of a repository, and what is said where they make no model."""

from __future__ import annotations

from dataclasses import dataclass


class UnsupportedModelError(ValueError):
    """The repository does not describe a model that we could place; the message says what lacks."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a repository, by its path in it; bytes."""

    path: str
    size: int
