"""What the head of a GGUF file says: the memory that a token of context takes, the matrices."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_NUMBERS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
    10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_TENSORS = 16
"""No tensor has more dimensions; ggml takes four."""
_LAYERS = 4096
"""No array of a value for each layer is longer; the vocabulary is, and comes after them."""
_CACHE_BYTES = 2
"""Of a value in the KV cache: llama.cpp's default is f16."""

Value = int | float | str | list[int]


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a model, as far as its KV cache depends on it."""

    context_length: int
    """Tokens that it was trained with."""
    kv_bytes_per_token: int
    """2 bytes for each value of a key and of a value, of each head, of each layer that has one.
    Of layers with a sliding window it is more than llama.cpp takes."""


@dataclass(frozen=True, slots=True)
class Base:
    """Of a model, what an adapter must match."""

    architecture: str
    """As in `general.architecture`, empty where the file does not say it."""
    heads: int
    kv_heads: int
    tensors: Mapping[str, tuple[int, ...]]
    """Dimensions by name, the innermost first: a matrix has its inputs, then its outputs."""


def base(parts: Iterable[Path]) -> Base | None:
    """Of the model in these files, whose first has the metadata; None where one is broken off."""
    tensors: dict[str, tuple[int, ...]] = {}
    found: dict[str, Value] = {}
    for path in parts:
        with path.open("rb") as file:
            try:
                count, more = _metadata(file, whole=True)
                tensors |= dict(_tensor(file) for _ in range(count))
            except (struct.error, UnicodeDecodeError, _EndError):
                return None
            found = found or more
    prefix = str(found.get("general.architecture", ""))
    heads = found.get(f"{prefix}.attention.head_count")
    kv_heads = found.get(f"{prefix}.attention.head_count_kv", heads)
    return Base(prefix, _integer(heads), _integer(kv_heads), tensors)


def shape(path: Path) -> Shape | None:
    """None where the file does not say enough."""
    with path.open("rb") as file:
        try:
            _, found = _metadata(file)
        except (struct.error, UnicodeDecodeError, _EndError):
            return None
    prefix = str(found.get("general.architecture", ""))
    layers = _integer(found.get(f"{prefix}.block_count"))
    heads = _integer(found.get(f"{prefix}.attention.head_count"))
    length = _integer(found.get(f"{prefix}.context_length"))
    size = _integer(found.get(f"{prefix}.embedding_length")) // heads if heads else 0
    values = sum(
        _integer(found.get(f"{prefix}.attention.{part}_length")) or size
        for part in ("key", "value")
    )
    of_layers = found.get(f"{prefix}.attention.head_count_kv", heads)
    kv_heads = sum(of_layers) if isinstance(of_layers, list) else _integer(of_layers) * layers
    if not (length and kv_heads and values):
        return None
    return Shape(length, kv_heads * values * _CACHE_BYTES)


class _EndError(Exception):
    """The file is shorter than it says, or no GGUF file."""


def _metadata(file: BinaryIO, *, whole: bool = False) -> tuple[int, dict[str, Value]]:
    """The number of tensors, and what is said before the vocabulary. With `whole` the file is left
    where its tensors are told."""
    if file.read(4) != b"GGUF":
        raise _EndError
    _number(file, "<I")
    count = int(_number(file, "<Q"))
    found: dict[str, Value] = {}
    for _ in range(int(_number(file, "<Q"))):
        key = _text(file)
        kind = int(_number(file, "<I"))
        if kind == _ARRAY:
            kind, length = int(_number(file, "<I")), int(_number(file, "<Q"))
            if length > _LAYERS and not whole:
                break
            if kind == _STRING or length > _LAYERS:
                _skip(file, kind, length)
            else:
                found[key] = [int(_number(file, _form(kind))) for _ in range(length)]
        elif kind == _STRING:
            found[key] = _text(file)
        else:
            found[key] = _number(file, _form(kind))
    return count, found


def _tensor(file: BinaryIO) -> tuple[str, tuple[int, ...]]:
    name, dimensions = _text(file), int(_number(file, "<I"))
    if dimensions > _TENSORS:
        raise _EndError
    found = tuple(int(_number(file, "<Q")) for _ in range(dimensions))
    _number(file, "<I")  # its type
    _number(file, "<Q")  # where it lies
    return name, found


def _skip(file: BinaryIO, kind: int, length: int) -> None:
    if kind != _STRING:
        file.seek(length * struct.calcsize(_form(kind)), os.SEEK_CUR)
        return
    for _ in range(length):
        _bytes(file, int(_number(file, "<Q")))


def _form(kind: int) -> str:
    if kind not in _NUMBERS:
        raise _EndError
    return _NUMBERS[kind]


def _number(file: BinaryIO, form: str) -> int | float:
    found: int | float = struct.unpack(form, _bytes(file, struct.calcsize(form)))[0]
    return found


def _text(file: BinaryIO) -> str:
    return _bytes(file, int(_number(file, "<Q"))).decode()


def _bytes(file: BinaryIO, count: int) -> bytes:
    found = file.read(count) if count < 1 << 24 else b""
    if len(found) != count:
        raise _EndError
    return found


def _integer(value: Value | None) -> int:
    if isinstance(value, list):
        return max(value, default=0)
    return int(value) if isinstance(value, int | float) else 0
