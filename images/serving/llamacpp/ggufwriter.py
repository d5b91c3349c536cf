"""A GGUF file, version 3, of 32-bit floats."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

_ALIGNMENT = 32
"""The format's default, of each tensor's first byte."""
_FLOAT32, _STRING = 6, 8
"""Kinds of metadata."""
_F32, _BYTES = 0, 4
"""ggml's type of tensors, and the bytes of a value."""


@dataclass(frozen=True, slots=True)
class Matrix:
    name: str
    shape: tuple[int, ...]
    """The outermost dimension first, as torch has it."""
    values: Callable[[], array[float]]
    """Made when they are written: no more than one matrix is in memory."""


def write(path: Path, metadata: Mapping[str, str | float], matrices: Sequence[Matrix]) -> None:
    """Complete or not at all."""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(matrices), len(metadata))]
    head += [_text(key) + _value(value) for key, value in metadata.items()]
    at = 0
    for matrix in matrices:
        dimensions = struct.pack(f"<{len(matrix.shape)}Q", *reversed(matrix.shape))
        head.append(_text(matrix.name) + struct.pack("<I", len(matrix.shape)) + dimensions)
        head.append(struct.pack("<IQ", _F32, at))
        at += _padded(prod(matrix.shape) * _BYTES)
    draft = path.with_name(f".{path.name}.new")
    with draft.open("wb") as file:
        text = b"".join(head)
        file.write(text.ljust(_padded(len(text)), b"\0"))
        for matrix in matrices:
            content = _little(matrix.values())
            file.write(content)
            file.write(bytes(_padded(len(content)) - len(content)))
    draft.rename(path)


def _little(values: array[float]) -> bytes:
    if sys.byteorder == "big":
        values = array("f", values)
        values.byteswap()
    return values.tobytes()


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _text(words: str) -> bytes:
    content = words.encode()
    return struct.pack("<Q", len(content)) + content


def _value(value: str | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    return struct.pack("<If", _FLOAT32, value)
