"""How long a text is for the embedding model, by its own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

_BYTES = 3
"""Of UTF-8: a token has as many or more in most languages; an estimate that is too high cuts
early."""
_AT_ONCE = 10_000
"""Texts: what is known of the tokens of one takes more memory than the text."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Without a tokenizer (a service embeds) it is estimated, rather too high."""

    tokenizer: Tokenizer | None = None
    limit: int = 0
    """Tokens that the model reads; 0 where nobody knows."""

    @classmethod
    def of(cls, directory: Path | None, limit: int = 0) -> Counter:
        """Of the model in that directory."""
        file = None if directory is None else directory / "tokenizer.json"
        if file is None or not file.is_file():
            return cls(None, limit)
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer, limit)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Without the tokens that the model sets around a text."""
        if self.tokenizer is None:
            return [-(-len(text.encode()) // _BYTES) for text in texts]
        counts: list[int] = []
        for start in range(0, len(texts), _AT_ONCE):
            some = list(texts[start : start + _AT_ONCE])
            found = self.tokenizer.encode_batch_fast(some, add_special_tokens=False)
            counts += [len(each.ids) for each in found]
        return counts


UNCOUNTED = Counter()
"""Estimates, and knows no limit."""
