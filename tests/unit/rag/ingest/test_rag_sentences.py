"""Sentences are NLTK's, chunks are llama-index's; the time they take is in neither's proportion."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llama_index.core.node_parser import SentenceSplitter
from nltk.tokenize import PunktSentenceTokenizer  # type: ignore[import-untyped]
from rag.documents import Document
from rag.ingest import fitting, sentences
from rag.ingest.chunking import Chunker
from rag.ingest.outline import outline
from rag.ingest.settings import ChunkOptions, IngestSettings
from rag.ingest.tokens import UNCOUNTED, Counter

from tests.unit.rag.ingest.tokenizers_made import of_bytes, of_words

ROOT = Path(__file__).parents[4]
PAGES = [
    "docs/images.md",
    "docs/rag/api.md",
    "docs/rag/chat.md",
    "docs/designs/20261122-ragengine.md",
]
STORY = (
    'He said: "Go on!" And J. S. Bach (1685–1750.) went on... "Really?!" Mr. Smith asked him;'
    " at 3. p.m. it was 4.5 degrees. «Non.» -- e.g. nothing.\n\n\nA new paragraph. 日本語。はい！\n"
) * 40


def theirs(text: str) -> list[str]:
    begins = [start for start, _ in PunktSentenceTokenizer().span_tokenize(text)]
    return [text[start:end] for start, end in pairwise((0, *begins[1:], len(text)))]


@given(
    st.one_of(
        st.text("!?. \n", max_size=60),
        st.text("a. ", max_size=60),
        st.text("aA_1.,;:-!?\"')([{}] \n", max_size=60),
        st.text('aZé日.。…\u2028\x1c\xa0\x85 \t\r\n!?"”’»«--`#&*@', max_size=60),
        st.lists(
            st.sampled_from(
                ["Dr.", "J.", "S.", "3.", "-4.5.", "a", "It", "...", '"', ")", "?!", " ", "\n"]
            )
        ).map("".join),
    )
)
@example("!" * 40)
@example("acting!!! I promise.")
@example("")
@example(" \x1c")
@settings(max_examples=1000, deadline=None)
def test_sentences_are_punkts(text: str) -> None:
    assert list(sentences.split(text)) == theirs(text)
    assert "".join(sentences.split(text)) == text


@pytest.mark.parametrize("page", PAGES)
def test_sentences_of_a_page_are_punkts(page: str) -> None:
    text = (ROOT / page).read_text()
    assert list(sentences.split(text)) == theirs(text)
    assert len(theirs(text)) > 30


@pytest.mark.parametrize("size", [16, 60, 126, 1022])
@pytest.mark.parametrize("text", [*PAGES, STORY], ids=[*PAGES, "a story"])
def test_chunks_are_llama_indexes(text: str, size: int) -> None:
    text = (ROOT / text).read_text() if text in PAGES else text
    counter, overlap = of_words(), size // 4
    other = SentenceSplitter(
        chunk_size=size,
        chunk_overlap=overlap,
        tokenizer=lambda part: range(counter.count([part])[0]),
        chunking_tokenizer_fn=theirs,
    )
    made = Chunker(IngestSettings(ChunkOptions(size + 2, overlap)), counter)
    assert [each.text for each in made.cut(Document("d", text, {})).chunks] == other.split_text(
        text
    )


UNITS = [
    "!", "! ", ". ", " .", "a.", "a. ", "\n", "\n\n\n", "?! ", " ", "a", ".", "...", ". .", "!)",
    '."', '"', "(", "-", ",", ", ", "日", "日。", "?? ???? ?", ".\u2028", "1.", "1. ", "word ",
]  # fmt: skip
"""Of a text that nothing but these are in."""


@dataclass(frozen=True)
class Weighed(Counter):
    """Knows how many characters it has counted each time."""

    weighed: list[int] = field(default_factory=list)

    def count(self, texts: Sequence[str]) -> list[int]:
        self.weighed.append(sum(map(len, texts)))
        return Counter.count(self, texts)


@given(st.one_of(*(st.text(each, min_size=1, max_size=8) for each in ("!?. \n", "a. ", "aA .,\n"))))
@example("!")
@example("?? ???? ?")
@settings(max_examples=60, deadline=None)
def test_each_level_counts_the_text_once_at_most(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    made = Weighed(of_bytes().tokenizer)
    found = fitting.parts(text, 100, made)
    assert sum(characters for characters, _ in found) == len(text)
    assert all(tokens <= 100 for _, tokens in found)
    assert len(made.weighed) <= 6
    assert max(made.weighed) <= len(text)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "counter", [UNCOUNTED, of_words(), of_bytes()], ids=["none", "words", "bytes"]
)
def test_no_text_takes_long(unit: str, counter: Counter) -> None:
    """A fifth of a second or less for 25,000 characters; once it was minutes, or an error."""
    text = f"x{unit * (25_000 // len(unit))}y"
    begun = time.process_time()
    chunks = Chunker(IngestSettings(), counter).cut(Document("d", text, {})).chunks
    assert time.process_time() - begun < 10
    covered = 0
    for each in chunks:
        assert not text[covered : each.start].strip(), "lost"
        covered = each.end
    assert covered == len(text)


def test_as_many_full_stops_as_nltk_gives_up_at() -> None:
    begun = time.process_time()
    assert len(list(sentences.split(". " * 200_000))) == 200_000
    assert time.process_time() - begun < 60


@pytest.mark.parametrize(
    "line",
    ["# " + " " * 50_000 + "b", "# a" + " " * 50_000 + "b", "`" * 50_000 + "x" * 50_000 + "`"],
    ids=["blanks before a heading", "blanks in a heading", "what is no fence"],
)
def test_no_line_of_markdown_takes_long(line: str) -> None:
    begun = time.process_time()
    outline.__wrapped__(line)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    ("line", "words"),
    [("# a", "a"), ("# a #", "a"), ("# a # #\t", "a #"), ("# a#", "a#"), ("#", ""), ("# #", "#")],
)
def test_words_of_a_heading(line: str, words: str) -> None:
    assert outline(line).paths == ((words,),)
