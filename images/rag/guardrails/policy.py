"""The policy: a YAML file, read into values. What is wrong anywhere in it makes all of it void,
since the rest of it would be less than what was asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import yaml

from rag.guardrails.errors import PolicyError
from rag.guardrails.options import Options, canonical
from rag.guardrails.results import Action
from rag.guardrails.scanners import KINDS
from rag.guardrails.scanners.scanner import Scanner

BLOCK_MESSAGE: Final = "The model output was blocked by output guardrails."
_ACTIONS: Final[tuple[Action, ...]] = ("redact", "block")
_LARGEST: Final = 1 << 20
"""Bytes; a ConfigMap has no more either."""
Built = Callable[[str, bool], None]
"""Told of each scanner its type, and whether it could be made."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A scanner, ready, and what follows from a finding."""

    type: str
    action: Action
    scanner: Scanner


@dataclass(frozen=True, slots=True)
class Policy:
    """Read and made ready once; kept to by many at once."""

    action: Action
    block_message: str
    guards: tuple[Guard, ...]
    sha256: str
    """Of the file."""


def read(text: bytes, built: Built = lambda *_: None) -> Policy:
    """Raises PolicyError."""
    given = _document(text)
    scanners = given.pop("scanners", None)
    options = Options(given, "the policy")
    action = options.choice("action", _ACTIONS, "redact")
    message = options.text("block_message", BLOCK_MESSAGE)
    options.done()
    if not isinstance(scanners, list):
        raise PolicyError("the policy: scanners must be a list")
    guards = tuple(_guard(each, place, action, built) for place, each in enumerate(scanners))
    return Policy(action, message, guards, hashlib.sha256(text).hexdigest())


def _document(text: bytes) -> dict[str, Any]:
    if len(text) > _LARGEST:
        raise PolicyError("the policy: it is larger than 1 MiB")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PolicyError(f"the policy is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise PolicyError("the policy: it must have `scanners`")
    return {str(key): value for key, value in found.items()}


def _guard(given: Any, place: int, action: Action, built: Built) -> Guard:
    where = f"scanners[{place}]"
    if not isinstance(given, dict):
        raise PolicyError(f"{where}: must have `type`")
    options = Options(given, where)
    kind = canonical(options.text("type", ""))
    if kind not in KINDS:
        built("unknown", False)
        raise PolicyError(f"{where}: type must be one of {', '.join(KINDS)}, not {kind!r}")
    options.where = f"{where} ({kind})"
    try:
        own = options.choice("action", _ACTIONS, action)
        scanner = KINDS[kind](options)
        options.done()
    except PolicyError as error:
        built(kind, False)
        told = str(error)
        raise PolicyError(
            told if told.startswith(options.where) else f"{options.where}: {told}"
        ) from error
    built(kind, True)
    return Guard(kind, own, scanner)
