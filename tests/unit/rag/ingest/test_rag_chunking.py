"""A document in chunks: nothing is lost, nothing is too long, and every position is right."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llama_index.core.node_parser import CodeSplitter
from rag.documents import Chunk, Document
from rag.errors import InvalidError
from rag.ingest.chunking import Chunker, Cut, sizes
from rag.ingest.embedded import MOST_ABOVE, embedded_text
from rag.ingest.settings import ChunkOptions, IngestSettings
from rag.ingest.tokens import UNCOUNTED, Counter
from tree_sitter_language_pack import get_parser

from tests.unit.rag.ingest.tokenizers_made import of_bytes, of_words

ROOT = Path(__file__).parents[4]
PROSE = (ROOT / "docs/images.md").read_text()
PYTHON = (ROOT / "images/rag/storage/store.py").read_text()


def chunker(counter: Counter = UNCOUNTED, size: int = 0, overlap: int = -1, **more: Any) -> Chunker:
    return Chunker(IngestSettings(ChunkOptions(size, overlap), **more), counter)


def cut(text: str, made: Chunker | None = None, **metadata: Any) -> Cut:
    return (made or chunker()).cut(Document("doc", text, metadata))


def check(found: Cut) -> None:
    """What holds of every document."""
    document, covered = found.document, 0
    assert found.chunks
    for position, (chunk, embedded) in enumerate(zip(found.chunks, found.embedded, strict=True)):
        assert chunk.position == position
        assert document.text[chunk.start : chunk.end] == chunk.text == chunk.text.strip() != ""
        assert not document.text[covered : chunk.start].strip(), "lost"
        assert chunk.end > covered, "nothing new"
        covered = chunk.end
        assert embedded == embedded_text(document, chunk)
        assert chunk.embedded_hash == hashlib.sha256(embedded.encode()).hexdigest()
        assert embedded.endswith(chunk.text)
    assert not document.text[covered:].strip(), "lost"
    assert len({chunk.node_id for chunk in found.chunks}) == len(found.chunks)


SIGNS = st.sampled_from("aZ é日😀.,;!?。 \n\t\r\x1c\u2028#`~(){}\"'\\-\x00")
TEXTS = st.lists(
    st.one_of(
        st.text(SIGNS, max_size=30),
        st.sampled_from(
            [
                "# A\n",
                "\n## B ##\n",
                "```\n",
                "~~~~\n",
                "\n\n\n",
                "One sentence. Another one! ",
                "x" * 90,
            ]
        ),
    ),
    max_size=30,
).map("".join)


@given(
    text=TEXTS.filter(str.strip),
    kind=st.sampled_from(["text", "markdown", "code"]),
    language=st.sampled_from(["python", "markdown", "json", "c"]),
    size=st.integers(32, 80),
    overlap=st.integers(-1, 60),
    words=st.booleans(),
    title=st.sampled_from([None, "", "A title"]),
)
@example("aaa " * 300, "text", "c", 40, 10, True, None)
@example("# A\n\n# A\n\nsame\n\n# A\n\nsame\n" * 3, "markdown", "c", 32, 0, True, "A title")
@example('"' + "\\n" * 900 + 'tail"', "code", "json", 60, 0, True, None)
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_and_nothing_is_too_long(
    text: str, kind: str, language: str, size: int, overlap: int, words: bool, title: str | None
) -> None:
    counter = of_words() if words else of_bytes()
    made = chunker(counter, size, overlap, code_max_bytes=60)
    found = cut(text, made, split_type=kind, language=language, title=title)
    check(found)
    for chunk, embedded in zip(found.chunks, found.embedded, strict=True):
        room = size - 2
        above = counter.count([embedded.removesuffix(chunk.text)])[0]
        if above <= size // 2 - 2:
            assert counter.count([embedded])[0] <= room
        assert counter.count([chunk.text])[0] <= max(room - above, size // 2)


def test_no_chunk_has_only_space_that_is_new() -> None:
    """Where llama-index repeats what is shared."""
    text = "One two three four five. Six seven. " + " " * 30 + "Eight nine ten eleven twelve."
    for size in range(16, 48):
        check(cut(text, chunker(of_bytes(), size, size // 2)))


def test_as_much_is_shared_as_may_be() -> None:
    """Sentences of five tokens, of which six are a chunk and two are shared."""
    text = " ".join(f"This is number {at:02}." for at in range(20))
    found = cut(text, chunker(of_words(), 32, 10)).chunks
    assert [chunk.text[:17] for chunk in found[:3]] == [
        f"This is number {at:02}" for at in (0, 4, 8)
    ]


def test_neighbours_share_what_they_may() -> None:
    counter = of_words()
    found = cut(PROSE, chunker(counter, 64, 20)).chunks
    shared = [PROSE[other.start : one.end] for one, other in itertools.pairwise(found)]
    assert max(counter.count(shared)) <= 20
    assert sum(map(bool, shared)) > len(shared) / 4
    alone = cut(PROSE, chunker(counter, 64, 0)).chunks
    assert all(one.end <= other.start for one, other in itertools.pairwise(alone))


@pytest.mark.parametrize(
    ("asked", "limit", "tokens", "overlap"),
    [
        ((0, -1), 0, 1024, 200),
        ((0, -1), 8192, 1024, 200),
        ((0, -1), 256, 256, 51),
        ((512, -1), 0, 512, 102),
        ((512, 90), 256, 256, 90),
        ((0, 900), 256, 256, 128),
        ((2048, 0), 0, 2048, 0),
    ],
)
def test_sizes(asked: tuple[int, int], limit: int, tokens: int, overlap: int) -> None:
    found = sizes(IngestSettings(ChunkOptions(*asked)), limit)
    assert (found.chunk_tokens, found.overlap_tokens) == (tokens, overlap)


def test_a_short_text_is_one_chunk() -> None:
    (chunk,) = cut("\n  A short text.  \n").chunks
    assert (chunk.text, chunk.start, chunk.end) == ("A short text.", 3, 16)


def test_the_estimate_counts_bytes() -> None:
    assert UNCOUNTED.count(["abc" * 10, "日" * 10, ""]) == [10, 10, 0]


def test_the_models_tokenizer_is_read(tmp_path: Path) -> None:
    assert Counter.of(None, 7) == Counter(None, 7)
    assert Counter.of(tmp_path, 7) == Counter(None, 7)
    tokenizer = of_words().tokenizer
    assert tokenizer is not None
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    counter = Counter.of(tmp_path, 7)
    assert counter.count(["one two three four five", "one"]) == [5, 1]
    assert counter.limit == 7


class TestCode:
    def test_functions_stay_whole(self) -> None:
        text = "\n\n".join(f"def f{at}():\n" + "    do(it)\n" * 100 for at in range(9))
        found = cut(text, split_type="code", language="python")
        check(found)
        assert [chunk.text.split("(")[0] for chunk in found.chunks] == [
            f"def f{at}" for at in range(9)
        ]

    def test_much_as_llama_index(self) -> None:
        theirs = CodeSplitter("python", parser=get_parser("python"), tokenizer=list)
        found = cut(PYTHON, split_type="code", language="python")
        check(found)
        same = {chunk.text for chunk in found.chunks} & set(theirs.split_text(PYTHON))
        assert len(same) >= len(found.chunks) / 2

    @pytest.mark.parametrize("language", ["python", "PYTHON", "go", "rust", "javascript", "yaml"])
    def test_many_languages(self, language: str) -> None:
        check(cut(PYTHON, split_type="code", language=language))

    @pytest.mark.parametrize("language", [None, "", 3, ["python"]])
    def test_without_a_language(self, language: Any) -> None:
        with pytest.raises(InvalidError, match=r"needs metadata\.language") as caught:
            cut("x = 1", split_type="code", language=language)
        assert caught.value.field == ("metadata", "language")

    @pytest.mark.parametrize("language", ["klingon", "../python", "no\x00ne"])
    def test_an_unknown_language(self, language: str) -> None:
        with pytest.raises(InvalidError, match="is not known") as caught:
            cut("x = 1", split_type="code", language=language)
        assert caught.value.field == ("metadata", "language")

    def test_the_end_behind_the_last_child_is_kept(self) -> None:
        """Text behind the last escape of a string is in no node of the grammar."""
        text = 'x = "' + "\\n" * 800 + "y" * 1600 + ' tail"\n'
        check(cut(text, split_type="code", language="python"))

    def test_it_is_no_longer_than_the_model_reads(self) -> None:
        counter = of_bytes(64)
        found = cut(PYTHON, chunker(counter), split_type="code", language="python")
        check(found)
        assert max(counter.count(found.embedded)) <= 62

    def test_what_is_nested_deep(self) -> None:
        depth = 20_000
        found = cut("(" * depth + ")" * depth, split_type="code", language="python")
        check(found)
        assert len(found.chunks) < 2 * 2 * depth / 300

    def test_positions_behind_letters_of_several_bytes(self) -> None:
        text = "\n\n".join(f"def f{at}():\n" + '    say("日本 😀 é")\n' * 30 for at in range(5))
        check(cut(text, split_type="code", language="python"))


class TestMarkdown:
    TEXT = """Preface.

# Guide

## Install ##

Take it.

```sh
# no heading
```

### Linux
Words.

~~~
```
# neither
~~~

    # code, too

## Use
#hashtag
####### seven
"""

    def test_sections(self) -> None:
        found = cut(self.TEXT, split_type="markdown")
        check(found)
        assert [chunk.text.split("\n")[0] for chunk in found.chunks] == [
            "Preface.",
            "# Guide",
            "### Linux",
            "## Use",
        ]

    def test_headings_are_embedded(self) -> None:
        found = cut(self.TEXT, split_type="markdown", title=" The\nbook ")
        assert [embedded.split("\n")[0] for embedded in found.embedded] == [
            "The book",
            "The book",
            "The book / Guide / Install",
            "The book / Guide",
        ]

    def test_a_part_of_a_section_has_its_heading(self) -> None:
        text = "# Guide\n\n## Use\n\n" + "One more sentence. " * 40
        found = cut(text, chunker(of_words(), 40, 0), split_type="markdown")
        check(found)
        assert len(found.chunks) > 3
        assert found.embedded[0].startswith("# Guide\n\n## Use\n\nOne")
        assert all(each.startswith("Guide / Use\n\nOne more") for each in found.embedded[1:])

    def test_sections_that_are_alike(self) -> None:
        text = "# A\n\nsame\n\n# B\n\n## X\n\nsame\n\n# C\n\n## X\n\nsame\n"
        found = cut(text, split_type="markdown")
        check(found)
        assert [chunk.start for chunk in found.chunks] == [0, 11, 28]

    def test_a_heading_in_a_text_is_text(self) -> None:
        found = cut("# A\n\nword\n\n# B\n\nword")
        assert len(found.chunks) == 1
        assert found.embedded == (found.chunks[0].text,)

    def test_long_texts_take_no_square_of_time(self) -> None:
        text = "".join(f"## Part {at}\n\nSome words.\n\n" for at in range(20_000))
        assert len(cut(text, split_type="markdown").chunks) == 20_000


def test_a_long_title_leaves_room() -> None:
    counter = of_words()
    made = chunker(counter, 64, 0)
    found = cut(PROSE, made, title="many words " * 1000)
    check(found)
    above = found.embedded[0].removesuffix(found.chunks[0].text)
    assert len(above.encode()) <= MOST_ABOVE + 2
    assert max(counter.count([chunk.text for chunk in found.chunks])) <= 32


@pytest.mark.parametrize("title", [3, ["a"], None, "  "])
def test_a_title_that_is_none(title: Any) -> None:
    assert cut("word", title=title).embedded == ("word",)


def test_other_metadata_are_not_embedded() -> None:
    one, other = (cut("word", title="A", file_path=path, n=1) for path in ("a", "b"))
    assert one.chunks == other.chunks
    assert one.embedded == ("A\n\nword",)


def test_node_ids() -> None:
    ids = [chunk.node_id for chunk in cut(PROSE).chunks]
    assert ids == [chunk.node_id for chunk in cut(PROSE).chunks]
    assert not {*ids} & {chunk.node_id for chunk in chunker().cut(Document("x", PROSE)).chunks}
    repeated = cut("same. " * 300, chunker(of_words(), 32, 0)).chunks
    assert len({chunk.text for chunk in repeated}) < len(repeated)
    assert len({chunk.node_id for chunk in repeated}) == len(repeated)


def test_a_chunk_without_a_position_has_no_headings() -> None:
    document = Document("d", "# A\n\nword", {"split_type": "markdown", "title": "T"})
    assert embedded_text(document, Chunk("", 0, -1, -1, "word", "")) == "T\n\nword"
    assert embedded_text(document, Chunk("", 0, 5, 9, "word", "")) == "T / A\n\nword"


@pytest.mark.parametrize("kind", ["html", 3, ["text"], {"a": 1}, True])
def test_an_unknown_split_type(kind: Any) -> None:
    with pytest.raises(InvalidError, match="text, markdown or code") as caught:
        cut("word", split_type=kind)
    assert caught.value.field == ("metadata", "split_type")


@pytest.mark.parametrize("kind", ["text", "", None])
def test_text_is_what_is_said_or_nothing(kind: Any) -> None:
    assert cut("word", split_type=kind).chunks == cut("word").chunks


OFFLINE = """
import json, sys
def refuse(event, _):
    if event.startswith("socket."):
        raise AssertionError(event)
sys.addaudithook(refuse)
from rag.documents import Document
from rag.ingest.chunking import Chunker
from rag.ingest.settings import ChunkOptions, IngestSettings
from rag.ingest.tokens import UNCOUNTED
text = open(sys.argv[1]).read()
cutter = Chunker(IngestSettings(ChunkOptions(64)), UNCOUNTED)
kinds = ({}, {"split_type": "markdown"}, {"split_type": "code", "language": "python"})
print(json.dumps([len(cutter.cut(Document("d", text, kind)).chunks) for kind in kinds]))
"""


def test_no_network_and_no_home_is_needed(tmp_path: Path) -> None:
    """In a process of its own, which has loaded nothing yet."""
    ended = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(ROOT / "images/rag/storage/store.py")],
        env={"PYTHONPATH": f"{ROOT / 'images'}:{ROOT}", "HOME": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert min(json.loads(ended.stdout)) > 10
