"""Which metadata a filter lets pass: names and values that must all be there, equal as JSON values.

JSON has one kind of number, so 1 is 1.0; but 1 is not true, and not "1". A list or an object is
equal as a whole. A null must be there: what is missing is not null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rag.documents import Metadata
from rag.errors import InvalidError

FIELD = "metadata_filter"
_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


def checked(wanted: Any) -> Metadata | None:
    """The filter, None where it asks for nothing. Raises InvalidError."""
    if wanted is None:
        return None
    if not isinstance(wanted, Mapping):
        raise InvalidError("A metadata filter is an object of names and values.", FIELD)
    for name, value in wanted.items():
        if not isinstance(name, str):
            raise InvalidError("The names in a metadata filter are strings.", FIELD)
        try:
            canonical(value)
        except (TypeError, ValueError, RecursionError):
            raise InvalidError(f"'{name}' is no JSON value.", FIELD, name) from None
    return wanted or None


def matches(metadata: Metadata, wanted: Metadata | None) -> bool:
    """Whether all of `wanted` is in `metadata`."""
    return all(
        name in metadata and canonical(metadata[name]) == canonical(value)
        for name, value in (wanted or {}).items()
    )


def canonical(value: Any) -> str:
    """A string that is the same for two values if, and only if, they are equal."""
    kind = type(value)
    if kind is str:
        return "s" + str(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if kind is int or kind is float:
        return f"n{_number(value)!r}"
    return "j" + _encode(_plain(value))


def tokens(metadata: Metadata) -> list[int]:
    """Each name with its value as 64 bits, for looking it up; valid in this process alone."""
    mask = (1 << 64) - 1
    return [hash((name, canonical(value))) & mask for name, value in metadata.items()]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _number(value) if type(value) is float else value


def _number(value: float) -> float:
    """3.0 is 3, as it is in JSON."""
    return int(value) if type(value) is float and value.is_integer() else value
