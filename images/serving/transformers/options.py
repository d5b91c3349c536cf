"""What the model's loader is told beside KAITO's own flags: words of the command line with types.

KAITO hands them over as text, and to a loader every text is true.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TRUE = {"true", "1", "yes", ""}
_FALSE = {"false", "0", "no"}


class UsageError(Exception):
    """The server cannot start as asked; the message is for the user, in one line."""


def switch(text: str) -> bool:
    """As people write it; nothing at all is on."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise UsageError(f"{text!r} is neither true nor false")
    return word in _TRUE


def _map(text: str) -> dict[str, Any]:
    found = _json(text)
    if not isinstance(found, dict):
        raise UsageError(f"{text!r} is no map")
    return found


def _list(text: str) -> list[str]:
    found = _json(text) if text.startswith("[") else text.split(",")
    return [str(item).strip() for item in found]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no JSON: {error}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} is no number") from None


QUANTISATION: Mapping[str, Callable[[str], Any]] = {
    "load_in_4bit": switch,
    "load_in_8bit": switch,
    "bnb_4bit_compute_dtype": str,
    "bnb_4bit_quant_storage": str,
    "bnb_4bit_quant_type": str,
    "bnb_4bit_use_double_quant": switch,
    "llm_int8_enable_fp32_cpu_offload": switch,
    "llm_int8_skip_modules": _list,
    "llm_int8_threshold": _number,
}
"""Fields of transformers' BitsAndBytesConfig."""

LOADER: Mapping[str, Callable[[str], Any]] = {
    "attn_implementation": str,
    "max_memory": _map,
    "offload_buffers": switch,
    "offload_folder": str,
    "use_safetensors": switch,
}
"""Arguments of from_pretrained; what else it takes is decided elsewhere, or loads other weights."""


def parse(words: Sequence[str]) -> dict[str, Any]:
    """`--name=value`, `--name value` and `--name` as typed options; UsageError for others."""
    known = {**QUANTISATION, **LOADER}
    found: dict[str, Any] = {}
    for name, text in _pairs(words):
        negated = name.startswith("no_") and known.get(name.removeprefix("no_")) is switch
        key = name.removeprefix("no_") if negated else name
        if key not in known:
            raise UsageError(f"unknown option --{name}{_suggestion(key, known)}")
        try:
            found[key] = False if negated else known[key](text)
        except UsageError as error:
            raise UsageError(f"option --{name}: {error}") from None
    if found.get("load_in_4bit") and found.get("load_in_8bit"):
        raise UsageError("load_in_4bit and load_in_8bit are two ways to load: keep one")
    return found


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Names and texts. A dash in front of a number makes no name of it."""
    found: list[tuple[str, str]] = []
    for word in words:
        if word.startswith("-") and not word.lstrip("-")[:1].isdigit():
            name, _, text = word.lstrip("-").partition("=")
            found.append((name.replace("-", "_"), text))
        elif found and not found[-1][1]:
            found[-1] = (found[-1][0], word)
        else:
            raise UsageError(f"{word!r} belongs to no option")
    return found


def _suggestion(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f": did you mean --{near[0]}" if near else ""
