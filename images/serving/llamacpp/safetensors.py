"""Safetensors files without numpy or torch: a length, a header in JSON, and the tensors' bytes."""

from __future__ import annotations

import json
import struct
import sys
from array import array
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100_000_000
"""Bytes; the format's own bound."""
_SIZES = {"F32": 4, "F16": 2, "BF16": 2}


class FormatError(Exception):
    """The file cannot be read; the message is for the user, in one line."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A part of a mapped file."""

    kind: str
    """As the format spells it: `F32`, `F16`, `BF16`."""
    shape: tuple[int, ...]
    content: memoryview

    def floats(self) -> array[float]:
        """Exactly its values, in 32 bits. FormatError for a kind that is no float of these."""
        if self.kind == "F32":
            return _array(self.content)
        if self.kind == "BF16":  # the upper half of 32 bits
            wide = bytearray(2 * len(self.content))
            wide[2::4], wide[3::4] = self.content[0::2], self.content[1::2]
            return _array(wide)
        if self.kind == "F16":
            return array("f", struct.unpack(f"<{len(self.content) // 2}e", self.content))
        raise FormatError(f"its tensors are {self.kind}: save them as F32, F16 or BF16")


def read(path: Path) -> dict[str, Tensor]:
    """Tensors by name, of a file that is mapped as long as there are any. FormatError where it is
    none."""
    if path.stat().st_size < _LENGTH.size:
        raise FormatError(f"{path.name} is not a safetensors file")
    with path.open("rb") as file:
        return _tensors(path.name, memoryview(mmap(file.fileno(), 0, access=ACCESS_READ)))


def _tensors(name: str, view: memoryview) -> dict[str, Tensor]:
    (length,) = _LENGTH.unpack_from(view)
    start = _LENGTH.size + length
    if length > _LONGEST_HEADER or start > len(view):
        raise FormatError(f"{name} is not a safetensors file")
    found = {}
    try:
        header = json.loads(bytes(view[_LENGTH.size : start]))
        for key, entry in header.items():
            if key != "__metadata__":
                found[key] = _tensor(entry, view[start:])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{name} is not a whole safetensors file") from error
    return found


def _tensor(entry: dict[str, Any], data: memoryview) -> Tensor:
    first, last = (int(each) for each in entry["data_offsets"])
    shape = tuple(int(each) for each in entry["shape"])
    kind = str(entry["dtype"])
    size = prod(shape) * _SIZES.get(kind, 0)
    if not 0 <= first <= last <= len(data) or (size and last - first != size):
        raise ValueError(f"{kind} of {shape} does not lie in {first}:{last}")
    return Tensor(kind, shape, data[first:last])


def _array(content: memoryview | bytearray) -> array[float]:
    found = array("f")
    found.frombytes(content)
    if sys.byteorder == "big":
        found.byteswap()
    return found
