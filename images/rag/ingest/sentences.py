"""Where sentences begin, as NLTK's Punkt finds them without a model of a language, which is what
llama-index cuts by. A test compares the two on any text.

It is done here since NLTK gives up (TimeoutError, after 5 s by the clock) on texts that have tens
of thousands of full stops, and takes 0.1 ms for each. This takes time in proportion to the text's
length, whatever is in it, and keeps nothing of what it has read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise, tee, zip_longest
from typing import Final

import regex  # as NLTK does; re has another idea of what is space

Span = tuple[int, int]
_SPACE: Final = " \t\n\r\x0b\x0c"
"""What ends a word before a full stop; elsewhere other space does, too."""
_NO_WORD: Final = r"""[)";}\]*:@'({\[‘’“”«»?!]"""
_SIGNS: Final = r"(?:-{2,}|\.{2,}|(?:\.\s){2,}\.)"
_END = regex.compile(rf"[.?!](?=(?P<after>{_NO_WORD}|\s+(?P<next>\S+)))")
_TOKEN = regex.compile(
    rf"{_SIGNS}|(?=[^(\"`{{\[:;&#*@)}}\]\-,])\S+?"
    rf"(?=\s|$|{_NO_WORD}|{_SIGNS}|,(?=$|\s|{_NO_WORD}|{_SIGNS}))|\S"
)
_INITIAL = regex.compile(r"[^\W\d]\.")
_NUMBER = regex.compile(r"-?[.,]?\d[\d,.\-]*")
_CLOSING = regex.compile(r"""["')\]}‘’“”«»]+?(?:\s+|(?=--)|$)""", regex.MULTILINE)
"""What follows a full stop and is still of its sentence."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A full stop that may end a sentence."""

    context: str
    """The words that it is in, and the next one."""
    end: int
    """Behind it."""
    following: int
    """Where the next sentence begins, if it does."""


def split(text: str) -> Iterator[str]:
    """Together they are the text: the space before the first sentence belongs to it."""
    begins = chain((0,), islice(_begins(text), 1, None), (len(text),))
    return (text[start:end] for start, end in pairwise(begins))


def _begins(text: str) -> Iterator[int]:
    """What closes quotes and brackets belongs to the sentence before."""
    taken = 0
    """Of a sentence by the one before."""
    stops, others = tee(_between_stops(text))
    for (start, end), other in zip_longest(stops, islice(others, 1, None)):
        closing = None if other is None else _CLOSING.match(text, *other)
        if closing is not None or start + taken < end:
            yield start + taken
        taken = 0 if closing is None else closing.end() - closing.start()


def _between_stops(text: str) -> Iterator[Span]:
    start = 0
    for each in _candidates(text):
        if _ends_within(each.context):
            yield start, each.end
            start = each.following
    yield start, len(text.rstrip())


def _candidates(text: str) -> Iterator[_Candidate]:
    """Of several in one word the last, as in `Really?!`."""
    start = 0
    """Of the word that the last one ends."""
    last: regex.Match[str] | None = None
    for found in _END.finditer(text):
        before = 0 if last is None else last.start()
        space = max(text.rfind(sign, before, found.start()) for sign in _SPACE)
        begins = space + 1 if space > before else start
        if last is not None and before <= begins:
            yield _candidate(text, start, last)
        start, last = begins, found
    if last is not None:
        yield _candidate(text, start, last)


def _candidate(text: str, start: int, found: regex.Match[str]) -> _Candidate:
    following = found.start("next") if found["next"] else found.end()
    return _Candidate(text[start : found.end("after")], found.end(), following)


def _ends_within(context: str) -> bool:
    """Whether a sentence ends before the last word of it."""
    return any(_ends(token, following) for token, following in pairwise(_tokens(context)))


def _tokens(context: str) -> Iterator[str]:
    for line in context.split("\n"):
        if line.strip():
            yield from (each[0] for each in _TOKEN.finditer(line))


def _ends(token: str, following: str) -> bool:
    if token in ("?", "!", "."):
        return True
    if not token.endswith(".") or token.endswith(".."):
        return False
    initial = _INITIAL.fullmatch(token) is not None
    if initial or _NUMBER.fullmatch(token.lower()):
        goes_on = following in tuple(";:,.!?") or following[0].islower()
        return not (goes_on or (initial and following[0].isupper()))
    return True
