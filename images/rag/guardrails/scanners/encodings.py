"""OpenAI's encodings without a download: llama-index-core brings the two that are in use."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import tiktoken
import tiktoken.model

from rag.guardrails.errors import PolicyError

_OLDER: Final = {"gpt2", "r50k_base", "p50k_base", "p50k_edit"}
"""Counted by cl100k_base, which makes fewer tokens of the same text than they do."""
_NEWER: Final = {"o200k_harmony": "o200k_base"}
"""Differs in special tokens only, which answers do not have."""
_WORDS: Final = {
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k_base": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
"""How a text is cut before its parts become tokens."""
_ADDRESS: Final = "https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
_FILES: Final = Path("_static", "tiktoken_cache")


def named(name: str) -> tiktoken.Encoding:
    """Raises KeyError where there is none of that name."""
    if name in _OLDER:
        return _loaded("cl100k_base")
    name = _NEWER.get(name, name)
    if name not in _WORDS:
        raise KeyError(name)
    return _loaded(name)


def of_model(model: str) -> tiktoken.Encoding:
    """Raises KeyError where OpenAI has no such model."""
    return named(tiktoken.model.encoding_name_for_model(model))


@lru_cache
def _loaded(name: str) -> tiktoken.Encoding:
    found = find_spec("llama_index.core")
    if found is None or found.origin is None:
        raise PolicyError(f"token_limit: the files of the encoding {name} are not installed")
    # tiktoken names what it keeps by the address that it would fetch it from.
    kept = hashlib.sha1(_ADDRESS.format(name=name).encode(), usedforsecurity=False).hexdigest()
    try:
        lines = (Path(found.origin).parent / _FILES / kept).read_bytes().splitlines()
    except OSError as error:
        raise PolicyError(f"token_limit: the encoding {name} cannot be read: {error}") from error
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    return tiktoken.Encoding(name, pat_str=_WORDS[name], mergeable_ranks=ranks, special_tokens={})
