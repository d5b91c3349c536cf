"""A model of Hugging Face by name: `owner/model[:QUANT][@REVISION]`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAIN = "main"

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REFERENCE = re.compile(
    rf"(?P<repository>{_PART}/{_PART})"
    r"(?::(?P<quant>[A-Za-z0-9_.-]+))?"
    r"(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """`quant` picks a GGUF file, as in llama.cpp; `revision` is a branch, tag or commit."""

    repository: str
    quant: str = ""
    revision: str = MAIN

    def __str__(self) -> str:
        quant = f":{self.quant}" if self.quant else ""
        return self.repository + quant + (f"@{self.revision}" if self.revision != MAIN else "")


def parse(name: str) -> Reference | None:
    """None where it can be no repository: these parts go into URLs as they are."""
    found = _REFERENCE.fullmatch(name.strip())
    if found is None or ".." in name:
        return None
    return Reference(
        found["repository"], quant=found["quant"] or "", revision=found["revision"] or MAIN
    )
