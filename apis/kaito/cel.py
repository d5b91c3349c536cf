"""Turns of phrase in CEL that the rules of `schema` share. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from apis.model import Rule

CREATED = "oldSelf.hasValue()"
"""Where this is true the object is there already. A rule at the root would otherwise be asked at
each write of status and finalizers, and keep what has become invalid from ever ending."""


def whole(form: str, value: str = "self") -> str:
    """CEL: whether the whole string has the form."""
    return f"{value}.matches(r'^({form})$')"


def texts(words: Iterable[str]) -> str:
    """CEL: a list of strings."""
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def same(*path: str, empty: str = "''") -> str:
    """CEL: whether an optional field is what it was; empty and absent are the same.

    Without CEL's optionals, through which the estimate of a rule's cost cannot see.
    """

    def given(side: str) -> str:
        parts = (".".join((side, *path[: at + 1])) for at in range(len(path)))
        return " && ".join(f"has({part})" for part in parts)

    def unset(side: str) -> str:
        return f"!({given(side)}) || {value(side)} == {empty}"

    def value(side: str) -> str:
        return ".".join((side, *path))

    new, old = "self", "oldSelf"
    return (
        f"({unset(new)} || {given(old)} && {value(new)} == {value(old)})"
        f" && ({unset(old)} || {given(new)} && {value(new)} == {value(old)})"
    )


def ratcheted(rule: str, message: str, field: str = "") -> Rule:
    """A rule that passes what was stored as wrong as it is now.

    The API server does the same by itself, but not for parts that hold a piece of Kubernetes' own
    API (pod template, volume source): it cannot compare what it has no schema for.
    """
    before = rule.replace("self.", "oldSelf.value().")
    return Rule(
        f"({rule}) || oldSelf.hasValue() && !({before})", message, field=field, on_creation=True
    )


def _found(pairs: str, key: str, value: str) -> str:
    """CEL: whether a selector asks for key = value, in either form."""
    labels, listed = f"{pairs}.matchLabels", f"{pairs}.matchExpressions"
    return (
        f"(has({labels}) && {key} in {labels} && {labels}[{key}] == {value}"
        f" || has({listed}) && {listed}.exists(o, o.key == {key} && has(o.values)"
        f" && o.values.size() == 1 && o.values[0] == {value}))"
    )


def pairs_within(some: str, others: str) -> str:
    """CEL: whether each pair that a selector asks for is asked for by the other one too."""
    labels, listed = f"{some}.matchLabels", f"{some}.matchExpressions"
    return (
        f"(!has({labels}) || {labels}.all(k, {_found(others, 'k', f'{labels}[k]')}))"
        f" && (!has({listed}) || {listed}.all(e, !has(e.values) || e.values.size() != 1"
        f" || {_found(others, 'e.key', 'e.values[0]')}))"
    )
