"""Kubernetes quantities ('80Gi', '500m', '1e3') as exact numbers. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

_SYNTAX = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]?|[eE][+-]?\d+)")
_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal(10) ** -9,
    "u": Decimal(10) ** -6,
    "m": Decimal(10) ** -3,
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_GIB = 1024**3


def parse(quantity: str | int | float) -> Decimal:
    """'1.5Gi' → 1610612736; ValueError where it is no quantity (resource.Quantity's grammar)."""
    if isinstance(quantity, int | float):
        return Decimal(str(quantity))
    match = _SYNTAX.fullmatch(quantity.strip())
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity")
    number, suffix = match.groups()
    if suffix in _SUFFIXES:
        return Decimal(number) * _SUFFIXES[suffix]
    return Decimal(number + suffix)


def count(text: str) -> int | None:
    """A number as annotations and names have it, without sign; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() else None


def gib(quantity: str | int | float) -> float:
    """In GiB: '80Gi' → 80.0."""
    return float(parse(quantity) / _GIB)


def fmt(quantity: Decimal | int) -> str:
    """The shortest exact spelling that the API server accepts: 85899345920 → '80Gi', 0.5 → '500m'.

    Only multiples of a MiB get a binary suffix, so that counts (cores, pods, GPUs) stay decimal.
    """
    value = Decimal(quantity)
    if value == value.to_integral_value():
        whole = int(value)
        for suffix in ("Pi", "Ti", "Gi", "Mi"):
            unit = int(_SUFFIXES[suffix])
            if whole and whole % unit == 0:
                return f"{whole // unit}{suffix}"
        return str(whole)
    for suffix in ("m", "u", "n"):
        scaled = value / _SUFFIXES[suffix]
        if scaled == scaled.to_integral_value() or suffix == "n":
            return f"{int(scaled.to_integral_value())}{suffix}"
    raise AssertionError("unreachable")
