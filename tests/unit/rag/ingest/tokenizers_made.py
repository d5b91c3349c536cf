"""Tokenizers that need no file: one of words, and one of bytes."""

from __future__ import annotations

from rag.ingest.tokens import Counter
from tokenizers import Tokenizer, models, pre_tokenizers


def of_words(limit: int = 0) -> Counter:
    """Every word and every sign is a token."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return Counter(made, limit)


def of_bytes(limit: int = 0) -> Counter:
    """Every byte is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({sign: at for at, sign in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Counter(made, limit)
