"""Rules on the objects of its namespace that a RAGEngine names; none is looked for."""

from __future__ import annotations

from apis.errors import Errors, FieldError
from apis.kaito import grammar, ragmessages


def secret(path: str, given: str) -> Errors:
    """Nothing, or a name: many a key that was written here by mistake is none."""
    yield from _named(path, given, ragmessages.SECRET)


def claim(path: str, given: str, *, needed: bool = False) -> Errors:
    yield from _named(path, given, ragmessages.CLAIM, needed=needed)


def config_map(path: str, given: str) -> Errors:
    yield from _named(path, given, ragmessages.CONFIG_MAP, needed=True)


def _named(path: str, given: str, message: str, *, needed: bool = False) -> Errors:
    if (given or needed) and not grammar.is_subdomain(given):
        yield FieldError(path, message)
