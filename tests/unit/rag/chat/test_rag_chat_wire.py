"""Addresses and events."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rag.chat import sse
from rag.chat.endpoint import endpoint
from rag.errors import BadRequestError

COMMON = ['data: {"a": "é😀"}', "data:x", "data", ": ping", "event: error", "id: 1", ""]
LINES = st.lists(
    st.sampled_from(COMMON)
    | st.text(st.characters(blacklist_characters="\r\n\ufeff", blacklist_categories=["Cs"])),
    max_size=12,
)


def events(pieces: list[bytes]) -> list[sse.Event]:
    parser = sse.Parser()
    return [event for piece in pieces for event in parser.feed(piece)]


def cut(content: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    return [content[a:b] for a, b in itertools.pairwise(marks)]


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 1 << 16)))
def test_events_are_the_same_however_they_are_cut(
    lines: list[str], end: str, places: list[int]
) -> None:
    content = "".join(f"{line}{end}" for line in lines).encode()
    assert events(cut(content, places)) == events([content])
    assert events([bytes([each]) for each in content]) == events([content])


@given(st.binary(max_size=200), st.lists(st.integers(0, 1 << 16)))
def test_any_bytes_are_taken(content: bytes, places: list[int]) -> None:
    assert events(cut(content, places)) == events([content])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d", ["a", "b", "c"]),
        ("data: a\ndata:  b\ndata\n\n", ["a\n b\n"]),
        (": ping\n\nid: 7\nretry: 5\n\ndata: a\n\n", ["a"]),
        ("\ufeffdata: a\n\n", ["a"]),
        ("event: x\n\ndata: a\n\n", ["a"]),
        ("\n\n\n", []),
    ],
)
def test_events_as_the_standard_reads_them(content: str, expected: list[str]) -> None:
    assert [each.data for each in events([content.encode()])] == expected


def test_a_name_belongs_to_its_event() -> None:
    found = events([b"event: error\ndata: a\n\ndata: b\n\n"])
    assert [(each.name, each.data) for each in found] == [("error", "a"), ("", "b")]


def test_an_event_that_does_not_end_is_given_up() -> None:
    parser = sse.Parser()
    parser.feed(b"data: " + b"x" * (7 << 20))
    with pytest.raises(sse.TooLongError):
        parser.feed(b"x" * (2 << 20))


def test_what_is_written_is_read_again() -> None:
    written = sse.event({"a": "é\n\r\u2028 \ud83d"}) + sse.DONE_EVENT
    first, last = events([written])
    assert json.loads(first.data) == {"a": "é\n\r\u2028 ?"}
    assert last.data == sse.DONE


@pytest.mark.parametrize(
    ("url", "chat", "models", "tokenize"),
    [
        pytest.param(
            "http://llm/v1/chat/completions", "/v1/chat/completions", "/v1/models", "/tokenize",
            id="as upstream wants it",
        ),
        pytest.param(
            "http://llm/v1", "/v1/chat/completions", "/v1/models", "/tokenize", id="base"
        ),
        pytest.param("http://llm/", "/v1/chat/completions", "/v1/models", "/tokenize", id="host"),
        pytest.param(
            "http://llm/chat/completions", "/chat/completions", "/v1/models", "/tokenize",
            id="without a version",
        ),
        pytest.param(
            "http://llm/team/v1/chat/completions?a=b", "/team/v1/chat/completions?a=b",
            "/team/v1/models", "/team/tokenize", id="below a path, with a query",
        ),
    ],
)  # fmt: skip
def test_one_address_gives_the_others(url: str, chat: str, models: str, tokenize: str) -> None:
    found = endpoint(url)
    addresses = (found.chat, found.models, found.tokenize)
    assert addresses == tuple(f"http://llm{each}" for each in (chat, models, tokenize))


@pytest.mark.parametrize("url", ["http://llm/v1/completions", "llm:5000/v1", "ftp://llm/v1", "llm"])
def test_what_is_no_chat_is_refused_in_upstreams_words(url: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        endpoint(url)
    assert refused.value.detail.startswith("Chat completions not supported through endpoint ")


def test_no_password_is_told() -> None:
    with pytest.raises(BadRequestError) as refused:
        endpoint("http://me:secret@llm/v1/completions")
    assert "secret" not in refused.value.detail
