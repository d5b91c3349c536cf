"""Which architectures the engines know, so that nodes are not paid for in vain. Pure.

The data is vLLM's own, of the version in the serving image; llama.cpp reads GGUF files and says
nothing of Hugging Face's names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

FILE = Path(__file__).with_name("architectures.yaml")

_ELSEWHERE = frozenset({
    "aqlm", "bitnet", "bitsandbytes", "eetq", "exl2", "exl3", "gguf", "higgs", "hqq", "quanto",
    "spqr", "vptq",
})  # fmt: skip
"""Formats of weights that other engines load. Others may go by a name that vLLM translates."""


class Architectures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one version of vLLM serves."""

    vllm: str
    lora: tuple[str, ...]
    plain: tuple[str, ...]
    removed: dict[str, str]
    quantizations: tuple[str, ...]

    @property
    def minor(self) -> str:
        """The version as people say it: `0.32`."""
        return ".".join(self.vllm.split(".")[:2])


@cache
def known() -> Architectures:
    return msgspec.yaml.decode(FILE.read_bytes(), type=Architectures)


def supports_lora(architecture: str) -> bool:
    """Whether vLLM loads adapters for it. A model that says nothing is in Mistral's own format,
    all of whose classes do."""
    return not architecture or architecture in _of("lora")


def refusal(architectures: Sequence[str], quantization: str) -> str:
    """Why vLLM cannot serve a model of these architectures, stored so; nothing where it can.

    One that it knows is enough, and so is none at all, as upstream has it.
    """
    if quantization.casefold() in _ELSEWHERE and quantization not in known().quantizations:
        return f"vLLM {known().minor} does not load {quantization} weights"
    if not architectures or any(each in _of("lora") | _of("plain") for each in architectures):
        return ""
    for each in architectures:
        if last := known().removed.get(each):
            return f"vLLM {known().minor} no longer serves {each} (the last that did was {last})"
    return f"vLLM {known().minor} does not serve {', '.join(architectures)}"


@cache
def _of(group: Literal["lora", "plain"]) -> frozenset[str]:
    return frozenset(getattr(known(), group))
