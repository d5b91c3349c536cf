"""Variables of the environment: text in, values out, and of what does not fit its name, what it
was, and what would fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


class UnfitError(ValueError):
    """Says what would fit."""


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    default: str
    """As it would be written; empty is unset, which every `parse` is spared."""
    parse: Callable[[str], Any]
    meaning: str
    """For people, in one line."""
    also: tuple[str, ...] = ()
    """Other names for the same, which count where the first is unset."""
    unset: Any = None
    """What it is without a default."""
    secret: bool = False
    """Never repeated, also where it does not fit."""


def read(
    variables: Iterable[Variable], environment: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Values by name, and what is wrong. An empty variable is one that is unset, as in pods whose
    optional Secret is missing."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for each in variables:
        name = next((one for one in (each.name, *each.also) if _given(environment, one)), each.name)
        text = _given(environment, name) or each.default
        try:
            values[each.name] = each.parse(text) if text else each.unset
        except UnfitError as error:
            shown = "what it is" if each.secret else repr(text)
            problems.append(f"{name}: {shown} does not fit; set it to {error}")
    return values, problems


def _given(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "").strip()


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise UnfitError(" or ".join(words))
        return text.lower()

    return parse


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    number = between(least, most, whole=True)
    return lambda text: int(number(text))


def between(
    least: float, most: float | None = None, *, whole: bool = False
) -> Callable[[str], float]:
    kind = "a whole number" if whole else "a number"
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> float:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            raise UnfitError(f"{kind} {bounds}") from None
        if not least <= value <= (float("inf") if most is None else most) or value == float("inf"):
            raise UnfitError(f"{kind} {bounds}")
        return value

    return parse


def flag(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise UnfitError("true or false")
    return known[text.lower()]


def url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            found = urlsplit(text)
            fits = found.scheme in schemes and bool(found.netloc or found.scheme == "file")
            _ = found.port
        except ValueError:
            fits = False
        if not fits:
            raise UnfitError(f"a URL of {' or '.join(schemes)}")
        return text

    return parse


def words(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())
