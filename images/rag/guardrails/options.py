"""The options of one entry of a policy: read by name and type, and none left over.

What is misspelt is refused. A limit that is silently not there is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from rag.guardrails.errors import PolicyError

Name = TypeVar("Name", bound=str)


def canonical(key: str) -> str:
    """`blockMessage`, `block-message`, `block_message`: all the last one."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.replace("-", "_")).lower()


class Options:
    """Each method takes an option out; what nobody took is an error."""

    def __init__(self, given: Mapping[Any, Any], where: str) -> None:
        self.where = where
        self._left: dict[str, Any] = {}
        for key, value in given.items():
            name = canonical(str(key))
            if name in self._left:
                raise self.wrong(name, "is given twice")
            self._left[name] = value

    def wrong(self, name: str, why: str) -> PolicyError:
        return PolicyError(f"{self.where}: {name} {why}")

    def raw(self, name: str, default: Any = None) -> Any:
        """An option that is there but empty is not there."""
        value = self._left.pop(name, None)
        return default if value is None else value

    def text(self, name: str, default: str) -> str:
        value = self.raw(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, f"must be a string, not {value!r}")
        return value or default

    def texts(self, name: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        value = self.raw(name, list(default))
        if not isinstance(value, list) or not value:
            raise self.wrong(name, "must be a list of strings, with one at least")
        for each in value:
            if not isinstance(each, str) or not each:
                raise self.wrong(name, f"has {each!r}, which is not a string with something in it")
        return tuple(dict.fromkeys(value))

    def choice(self, name: str, allowed: Sequence[Name], default: Name) -> Name:
        value = self.text(name, default).lower()
        for each in allowed:
            if each == value:
                return each
        raise self.wrong(name, f"must be one of {', '.join(allowed)}, not {value!r}")

    def flag(self, name: str, default: bool) -> bool:
        value = self.raw(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, f"must be true or false, not {value!r}")
        return value

    def whole(self, name: str, default: int, least: int) -> int:
        value = self.raw(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(name, f"must be a whole number of {least} or more, not {value!r}")
        return value

    def positive(self, name: str) -> float:
        value = self.raw(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
            raise self.wrong(name, f"must be a number above 0, not {value!r}")
        return float(value)

    def done(self) -> None:
        if self._left:
            raise PolicyError(f"{self.where}: unknown: {', '.join(sorted(self._left))}")
