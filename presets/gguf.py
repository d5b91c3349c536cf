"""GGUF: which file of a repository, and what its head tells of the model. Pure.

The head is small enough to be asked for alone: numbers of the architecture come first, the
vocabulary, which is long, after them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from presets.files import File, UnsupportedModelError

HEAD_BYTES = 1 << 20
"""Of a file, what is read to learn the architecture."""
USUAL = "Q4_K_M"
"""What llama.cpp and Ollama take where nobody asked for another."""

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_QUANT = re.compile(r"(?:^|[-._/])((?:IQ|Q|TQ)\d\w*|BF16|F16|F32|MXFP4\w*)(?=[-._/]|$)", re.I)
_NO_MODEL = ("mmproj", "imatrix")

_NUMBERS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_KEPT_ITEMS = 1024

_NAMES = {
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "embedding_length": "hidden_size",
    "context_length": "max_position_embeddings",
    "expert_count": "num_experts",
    "vocab_size": "vocab_size",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One model in GGUF: its first file (llama.cpp finds the others), and all of their bytes."""

    path: str
    size: int


def choose(files: Iterable[File], quant: str = "") -> Choice | None:
    """The file of that quantisation, else the usual one, else the only one.

    None where the repository has no GGUF file at all; UnsupportedModelError, with those that
    there are, where none is meant clearly.
    """
    found = _models(files)
    if not found:
        return None
    if not quant and len(found) == 1:
        return found[0]
    wanted = quant or USUAL
    matching = [each for each in found if _is(each.path, wanted.casefold())]
    if matching:
        # The same file in a folder once more is not another model.
        return min(matching, key=lambda each: (each.path.count("/"), len(each.path), each.path))
    known = sorted({name.upper() for each in found for name in _quants(each.path)})
    raise UnsupportedModelError(
        f"has no GGUF file {wanted}: name one as owner/model:QUANT, of {', '.join(known) or 'none'}"
    )


def _models(files: Iterable[File]) -> list[Choice]:
    """Parts that belong together as one."""
    sizes: dict[str, int] = {}
    for file in sorted(files, key=lambda each: each.path):
        name = file.path.rsplit("/", 1)[-1].casefold()
        if not name.endswith(".gguf") or any(word in name for word in _NO_MODEL):
            continue
        first = _SHARD.sub(r"-00001-of-\2.gguf", file.path)
        sizes[first] = sizes.get(first, 0) + file.size
    return [Choice(path, size) for path, size in sizes.items()]


def _is(path: str, quant: str) -> bool:
    return quant in _quants(path) or _stem(path).casefold().endswith(f"-{quant}")


def _quants(path: str) -> frozenset[str]:
    return frozenset(each.casefold() for each in _QUANT.findall(_stem(path)))


def _stem(path: str) -> str:
    return _SHARD.sub("", path).removesuffix(".gguf")


def parts(path: str) -> tuple[str, ...]:
    """All files of a model that is named by its first."""
    shard = _SHARD.search(path)
    if shard is None:
        return (path,)
    stem, count = path[: shard.start()], shard[2]
    return tuple(f"{stem}-{number:05}-of-{count}.gguf" for number in range(1, int(count) + 1))


def config(head: bytes) -> dict[str, Any]:
    """The numbers at the head of a file under the names that config.json has for them."""
    metadata = read(head)
    prefix = f"{metadata.get('general.architecture', '')}."
    found: dict[str, Any] = {}
    for name, meaning in _NAMES.items():
        value = metadata.get(prefix + name)
        if isinstance(value, list):  # one for each layer
            if meaning == "num_key_value_heads" and 0 in value:
                found["layer_types"] = ["full_attention" if heads else "none" for heads in value]
            value = max(value, default=0)
        if isinstance(value, int | float) and value:
            found[meaning] = value
    found.setdefault("vocab_size", metadata.get("tokenizer.ggml.tokens", 0))
    return found


def read(head: bytes) -> dict[str, Any]:
    """Key-value pairs up to the first long array, of which only the length is told."""
    if head[:4] != b"GGUF":
        raise UnsupportedModelError("the file is no GGUF file")
    reader = _Reader(head, 8)
    found: dict[str, Any] = {}
    try:
        reader.number("Q")  # tensors
        for _ in range(reader.number("Q")):
            key = reader.text()
            reader.put(found, key, reader.number("I"))
    except (struct.error, EOFError, UnicodeDecodeError):
        return found  # all that is wanted, or that there is
    return found


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int

    def number(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        length = self.number("Q")
        if self.at + length > len(self.data):
            raise EOFError
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def put(self, found: dict[str, Any], key: str, kind: int) -> None:
        """Read a value of that kind; an array's length is known before its items are."""
        if kind != _ARRAY:
            found[key] = self._value(kind)
            return
        kind, length = self.number("I"), self.number("Q")
        found[key] = length
        if length > _KEPT_ITEMS:
            raise EOFError  # the vocabulary: the numbers came before it
        found[key] = [self._value(kind) for _ in range(length)]

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind not in _NUMBERS:
            raise EOFError
        return self.number(_NUMBERS[kind])


def tells_layers(config: Mapping[str, Any]) -> bool:
    """Whether a GGUF repository's own config.json has the numbers already: few have."""
    inner = config.get("text_config") or {}
    return any(key in config or key in inner for key in ("num_hidden_layers", "n_layer"))
