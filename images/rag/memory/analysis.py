"""Text to terms, as BM25 counts them: words of any script, folded and stemmed, as 32-bit hashes.

Hashes in place of words need no dictionary that grows with the index, and are what a vector
database takes. Of a vocabulary of 200,000 words about nine share a hash with another.
"""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from collections import Counter

import numpy as np
import Stemmer

TERM = np.dtype([("term", "<u4"), ("count", "<u2")])
"""What `Analyzer.pack` packs, once for each distinct term of the text."""
LANGUAGES = ("none", *sorted(Stemmer.algorithms()))

_VERSION = 1
"""Goes up with every change of what comes out."""
_STOP_WORD = 0
_CACHED_WORDS = 200_000
_CACHED_LENGTH = 64
_MOST = 65_535
"""Of one term in one chunk, as far as it is counted."""

_ENGLISH_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for if in into is it no not of on or such that the their "
        "then there these they this to was will with",
    )
)
"""Lucene's. What they would add to a score is next to nothing, and they are in every chunk."""

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_MARKS = "".join(
    chr(code) for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)) in ("Mn", "Mc")
)
"""Vowel signs and the like: parts of words which `\\w` does not know."""
_RUN = re.compile(f"[{_UNSPACED}]+")
_WORD = re.compile(rf"[\w{_MARKS}]+(?:'[^\W\d]+)?")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


class Analyzer:
    """Of one language; safe to use from many threads.

    Words of the scripts that put no space between them, and Hangul, are taken by overlapping pairs
    of letters. The language is for the stemmer, and English has a short list of words that do not
    count; any text can be analysed in any language.
    """

    def __init__(self, language: str = "english") -> None:
        if language not in LANGUAGES:
            raise ValueError(f"no language '{language}': one of {', '.join(LANGUAGES)}")
        self.signature = f"{_VERSION}:{language}"
        """Terms of another signature are not comparable."""
        self._terms = _Terms(language)

    def count(self, text: str) -> Counter[int]:
        """Each term with how often it is there."""
        if text.isascii():
            words, runs = _ASCII_WORD.findall(text.lower()), []
        else:
            text = unicodedata.normalize("NFKC", text).casefold()
            text = text.replace("’", "'").replace("_", " ")
            runs = _RUN.findall(text)
            words = _WORD.findall(_RUN.sub(" ", text) if runs else text)
        counts = Counter(map(self._terms.__getitem__, words))
        counts.pop(_STOP_WORD, None)
        for run in runs:
            counts.update(_pairs(run))
        return counts

    def pack(self, text: str) -> bytes:
        """The same as bytes of TERM; few, and quick to read."""
        counts = self.count(text)
        packed = np.empty(len(counts), TERM)
        packed["term"] = np.fromiter(counts.keys(), np.uint32, len(counts))
        packed["count"] = np.minimum(np.fromiter(counts.values(), np.int64, len(counts)), _MOST)
        return packed.tobytes()


class _Terms(dict[str, int]):
    """A word's term, which is stemmed and hashed once for all the times it is met."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self._stemmer = None if language == "none" else Stemmer.Stemmer(language, 0)
        self._lock = threading.Lock()
        self._stop_words = _ENGLISH_STOP_WORDS if language == "english" else frozenset()

    def __missing__(self, word: str) -> int:
        term = self._term(word)
        if len(word) <= _CACHED_LENGTH:
            if len(self) >= _CACHED_WORDS:
                self.clear()
            self[word] = term
        return term

    def _term(self, word: str) -> int:
        if word in self._stop_words:
            return _STOP_WORD
        if self._stemmer is None:
            return hashed(word)
        with self._lock:
            stem = self._stemmer.stemWord(word)
        return hashed(stem)


def hashed(term: str) -> int:
    """1 to 2**32 - 1, the same in every process."""
    digest = hashlib.blake2b(term.encode(errors="surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little") or 1


def _pairs(run: str) -> list[int]:
    if len(run) == 1:
        return [hashed(run)]
    return [hashed(run[at : at + 2]) for at in range(len(run) - 1)]
