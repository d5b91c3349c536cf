"""A text in parts that fit, as llama-index-core's SentenceSplitter divides it before it merges:
paragraphs, of what is too long the sentences, then phrases, words and characters.

Level by level and not, as there, from the top again for each part: that takes off one `!` at a time
of a text that has thousands, and each time all of the rest is read and counted anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from rag.ingest import sentences
from rag.ingest.tokens import Counter

Part = tuple[int, int]
"""Characters and tokens."""
_PARAGRAPH, _WORD = "\n\n\n", " "
_PHRASE = re.compile("[^,.;。？！]+[,.;。？！]?|[,.;。？！]")


def parts(text: str, room: int, counter: Counter) -> list[Part]:
    """None of more than `room` tokens but single characters; together they are the text."""
    texts, known, same = [text], dict[str, Part](), dict[str, str]()
    for split in _LEVELS:
        _count(texts, known, counter)
        opened = (split(each) if known[each][1] > room else (each,) for each in texts)
        # Equal ones are one object: there may be millions.
        texts = [same.setdefault(part, part) for some in opened for part in some]
    _count(texts, known, counter)
    return [known[each] for each in texts]


def _count(texts: Iterable[str], known: dict[str, Part], counter: Counter) -> None:
    """Each text once however often it comes, as characters do."""
    new = [each for each in dict.fromkeys(texts) if each not in known]
    for each, tokens in zip(new, counter.count(new), strict=True):
        known[each] = len(each), tokens


def _paragraphs(text: str) -> list[str]:
    return _before(_PARAGRAPH, text)


def _words(text: str) -> list[str]:
    return _before(_WORD, text)


def _before(separator: str, text: str) -> list[str]:
    """Cut before each of these."""
    first, *others = text.split(separator)
    return [each for each in (first, *(separator + other for other in others)) if each]


_LEVELS: Final[tuple[Callable[[str], Iterable[str]], ...]] = (
    _paragraphs,
    sentences.split,
    _PHRASE.findall,
    _words,
    list,
)
