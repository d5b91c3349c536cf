"""What a command line of vLLM says, as far as our defaults depend on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Given:
    """What a list of words says, last word first; values of flags that take several are lost."""

    values: Mapping[str, str] = field(repr=False)
    """An --api-key among them."""

    @classmethod
    def of(cls, words: Sequence[str]) -> Given:
        values: dict[str, str] = {}
        for index, word in enumerate(words):
            if not word.startswith("--"):
                continue
            name, equals, value = word[2:].partition("=")
            following = words[index + 1] if index + 1 < len(words) else "--"
            if not equals and not following.startswith("--"):
                value = following
            values[_name(name)] = value
        return cls(values)

    def __contains__(self, name: str) -> bool:
        return name in self.values or f"no-{name}" in self.values

    def number(self, name: str, default: int) -> int:
        try:
            return int(self.values.get(name, default))
        except ValueError:
            return default


def _name(flag: str) -> str:
    """vLLM takes underscores and a few short names."""
    name = flag.replace("_", "-")
    return {"tp": "tensor-parallel-size", "dp": "data-parallel-size"}.get(name, name)
