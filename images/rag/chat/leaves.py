"""The texts in an answer, wherever it has them: content, reasoning, a refusal, a tool's arguments.

All that a model writes is found, whatever the server calls it, so that no new field of a server
gets around the guardrails; what only names and numbers things is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_NAMES: Final = frozenset(
    {"id", "type", "role", "name", "index", "finish_reason", "stop_reason", "logprobs"}
)


@dataclass(frozen=True, slots=True)
class At:
    """A place in a list: by the `index` that stream pieces of lists carry, else by its order."""

    index: int


Path = tuple[str | At, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text, and where it stands: `holder[key]`."""

    path: Path
    holder: Any
    key: str | int

    @property
    def text(self) -> str:
        return str(self.holder[self.key])

    def put(self, text: str) -> None:
        self.holder[self.key] = text


def leaves(node: Mapping[str, Any], path: Path = ()) -> Iterator[Leaf]:
    for key, value in node.items():
        if key in _NAMES:
            continue
        yield from _leaves(node, key, value, (*path, key))


def _leaves(holder: Any, key: str | int, value: Any, path: Path) -> Iterator[Leaf]:
    if isinstance(value, str):
        yield Leaf(path, holder, key)
    elif isinstance(value, dict):
        yield from leaves(value, path)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            named = each.get("index") if isinstance(each, dict) else None
            index = named if isinstance(named, int) else place
            yield from _leaves(value, place, each, (*path, At(index)))


def tree(path: Path, text: str) -> Any:
    """A piece that has this text at that path, and nothing else."""
    if not path:
        return text
    step, rest = path[0], path[1:]
    inner = tree(rest, text)
    if isinstance(step, str):
        return {step: inner}
    return [{"index": step.index, **inner}] if isinstance(inner, dict) else [inner]


def says_something(node: Any) -> bool:
    """False for a piece whose texts are all empty, and which names nothing."""
    if isinstance(node, dict):
        return any(says_something(value) for key, value in node.items() if key != "index")
    if isinstance(node, list):
        return any(says_something(each) for each in node)
    return bool(node)
