"""Under which terms a model comes: by its licence files, and by its card's front matter."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_FILES = ("LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "*_TERMS*", "USE_POLICY*", "*USE_POLICY*")
_CARD = "README.md"
_FENCE = "---"
_EXPRESSION = re.compile(r" (AND|OR|WITH) |^LicenseRef-")
_SPDX = {
    "afl-3.0": "AFL-3.0",
    "agpl-3.0": "AGPL-3.0-only",
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0-1.0": "CC0-1.0",
    "gpl-3.0": "GPL-3.0-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "mit": "MIT",
    "unlicense": "Unlicense",
}
"""Hugging Face's word → SPDX's. Models' own terms (gemma, llama3.1, …) are no licence of SPDX."""


@dataclass(frozen=True, slots=True)
class Licence:
    """Empty where the model does not tell."""

    expression: str = ""
    """SPDX's; `LicenseRef-<name>` for terms that SPDX does not know."""
    files: tuple[str, ...] = ()
    base_model: str = ""
    """What it was tuned or converted from."""


def find(files: Mapping[str, Path]) -> Licence:
    """What the files of a model say of it."""
    texts = tuple(
        sorted(name for name in files if any(fnmatch.fnmatch(name.upper(), p) for p in _FILES))
    )
    card = _front_matter(files[_CARD]) if _CARD in files else {}
    name = str(card.get("license_name") or card.get("license") or "")
    base = card.get("base_model") or ""
    return Licence(
        expression(name),
        texts,
        ", ".join(map(str, base)) if isinstance(base, list) else str(base),
    )


def expression(name: str) -> str:
    """SPDX's for a word of Hugging Face; what is one already stays."""
    known = {each.lower(): each for each in _SPDX.values()} | _SPDX
    if not name or name.lower() in ("other", "unknown"):
        return ""
    found = known.get(name.lower())
    return found or (name if _EXPRESSION.search(name) else _ours(name))


def _ours(name: str) -> str:
    kept = "".join(each if each.isalnum() or each in ".-" else "-" for each in name)
    return f"LicenseRef-{kept}"


def _front_matter(card: Path) -> Mapping[str, Any]:
    """Empty where the card has none that can be read: it is the model's, and not ours to judge."""
    text = card.read_text(errors="replace")
    if not text.startswith(_FENCE):
        return {}
    head = text[len(_FENCE) :].partition(f"\n{_FENCE}")[0]
    try:
        found = yaml.safe_load(head)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
