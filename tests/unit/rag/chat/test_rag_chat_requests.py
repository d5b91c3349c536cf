"""Which requests are answered, which are handed on, and what the others are told."""

from __future__ import annotations

from typing import Any

import pytest
from rag.chat import fields, messages, query
from rag.chat.messages import PassThrough
from rag.errors import BadRequestError, InvalidError

from tests.unit.rag.chat.builders import MESSAGES, asked

USER = {"role": "user", "content": "Who?"}
SAID = {"role": "assistant", "content": "Ada."}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
NO_QUESTION = "There must be a user prompt since the latest assistant message."


def content(role: str) -> str:
    return f"Invalid request format: messages must contain 'content' for role '{role}'."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param({"n": 2}, "n > 1 is not supported.", id="3: n"),
        pytest.param(
            {"context_token_ratio": 0.9},
            "Invalid context_token_ratio: 0.9. Must be between 0.2 and 0.8.",
            id="6: ratio above",
        ),
        pytest.param(
            {"context_token_ratio": 0},
            "Invalid context_token_ratio: 0. Must be between 0.2 and 0.8.",
            id="6: ratio below",
        ),
        pytest.param(
            {"context_token_ratio": 0.1, "index_name": None},
            "Invalid context_token_ratio: 0.1. Must be between 0.2 and 0.8.",
            id="6: ratio without an index",
        ),
        pytest.param(
            {"messages": None},
            "Invalid request format: messages must be a list with at least one message.",
            id="7: no messages",
        ),
        pytest.param(
            {"messages": [], "index_name": None},
            "Invalid request format: messages must be a list with at least one message.",
            id="7: empty messages without an index",
        ),
        pytest.param(
            {"messages": [{"content": "Who?"}]},
            "Invalid request format: messages must contain 'role'.",
            id="10: role",
        ),
        pytest.param({"messages": [{"role": "user"}]}, content("user"), id="10: user"),
        pytest.param({"messages": [{"role": "system"}, USER]}, content("system"), id="10: system"),
        pytest.param({"messages": [{"role": "tool"}, USER]}, content("tool"), id="10 before 11"),
        pytest.param(
            {"messages": [{"role": "user", "content": ""}]},
            "Invalid request format: user messages must contain 'content'.",
            id="10: empty",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]},
            "Invalid request format: user messages must contain 'content'.",
            id="10: empty parts",
        ),
        pytest.param({"messages": [USER, SAID]}, NO_QUESTION, id="13: answered"),
        pytest.param(
            {"messages": [{"role": "system", "content": "Be brief."}]}, NO_QUESTION, id="13: none"
        ),
    ],
)
def test_upstream_refuses_in_these_words(body: dict[str, Any], text: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        messages.decide(asked(**{"index_name": "a", **body}))
    assert refused.value.detail == text
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"n": "2"}, ("body", "n"), id="n is a string"),
        pytest.param({"n": True}, ("body", "n"), id="n is a truth"),
        pytest.param({"n": 0}, ("body", "n"), id="n is 0"),
        pytest.param({"stream": "yes"}, ("body", "stream"), id="stream"),
        pytest.param({"model": 3}, ("body", "model"), id="model"),
        pytest.param({"max_tokens": "100"}, ("body", "max_tokens"), id="max_tokens"),
        pytest.param({"max_tokens": 1.5}, ("body", "max_tokens"), id="half a token"),
        pytest.param(
            {"max_completion_tokens": []}, ("body", "max_completion_tokens"), id="completion"
        ),
        pytest.param(
            {"context_token_ratio": "0.5"}, ("body", "context_token_ratio"), id="ratio is a string"
        ),
        pytest.param({"index_name": ["a"]}, ("body", "index_name"), id="index"),
        pytest.param({"metadata_filter": "{}"}, ("body", "metadata_filter"), id="filter"),
        pytest.param({"max_node_count": 301}, ("body", "max_node_count"), id="too many nodes"),
        pytest.param({"mode": "both"}, ("body", "mode"), id="mode"),
        pytest.param({"rerank": 1}, ("body", "rerank"), id="rerank"),
        pytest.param({"messages": [1]}, ("body", "messages", 0), id="a message is a number"),
        pytest.param(
            {"messages": [USER, {"role": 1, "content": "a"}]},
            ("body", "messages", 1, "role"),
            id="a role is a number",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": 7}]},
            ("body", "messages", 0, "content"),
            id="a content is a number",
        ),
    ],
)
def test_another_type_is_told_with_its_field(
    body: dict[str, Any], field: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidError) as refused:
        messages.decide(asked(**{"index_name": "a", **body}))
    assert refused.value.status == 422
    assert refused.value.field == field


@pytest.mark.parametrize(
    "name", ["n", "stream", "max_tokens", "context_token_ratio", "metadata_filter", "mode", "model"]
)
def test_null_is_as_if_it_were_not_there(name: str) -> None:
    without, null = asked(index_name="a"), asked(index_name="a", **{name: None})
    assert messages.decide(null) is None
    for each in ("stream", "answer_tokens", "ratio", "metadata_filter", "mode", "model"):
        assert getattr(null, each) == getattr(without, each)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param({}, PassThrough.NO_INDEX, id="8"),
        pytest.param({"index_name": ""}, PassThrough.NO_INDEX, id="8: empty"),
        pytest.param({"messages": [USER, SAID]}, PassThrough.NO_INDEX, id="8 before 13"),
        pytest.param(
            {"index_name": "a", "messages": [USER, {"role": "tool", "content": "7"}]},
            PassThrough.ROLE,
            id="11",
        ),
        pytest.param(
            {"index_name": "a", "messages": [{"role": "user", "content": [PICTURE]}]},
            PassThrough.CONTENT,
            id="12",
        ),
        pytest.param({"index_name": "a"}, None, id="looked up"),
        pytest.param({"index_name": "a", "stream": True}, None, id="9 is no more"),
        pytest.param({"index_name": "a", "tools": [{"type": "function"}]}, None, id="2 is no more"),
        pytest.param(
            {"index_name": "a", "messages": [USER, {"role": "assistant"}, USER]},
            None,
            id="an assistant that called a tool says nothing",
        ),
        pytest.param(
            {"index_name": "a", "messages": [{"role": "developer", "content": "Be brief."}, USER]},
            None,
            id="developer",
        ),
    ],
)
def test_what_is_handed_on_as_it_is(body: dict[str, Any], why: PassThrough | None) -> None:
    assert messages.decide(asked(**body)) is why


def test_our_fields_are_kept_back_and_all_others_go_on() -> None:
    theirs = {
        "messages": MESSAGES, "model": "m", "temperature": "hot", "top_p": 1, "stop": ["."],
        "seed": 7, "response_format": {"type": "json_object"}, "presence_penalty": 1,
        "frequency_penalty": 1, "logprobs": True, "top_logprobs": 2, "tools": [], "user": "u",
        "max_completion_tokens": 9, "max_tokens": 8, "top_k": 2, "stream": True, "n": 1,
        "stream_options": {"include_usage": True}, "chat_template_kwargs": {"a": 1},
    }  # fmt: skip
    ours = {
        "index_name": "a", "context_token_ratio": 0.5, "metadata_filter": {"a": 1},
        "max_node_count": 3, "mode": "dense", "rerank": True,
    }  # fmt: skip
    found = fields.read({**theirs, **ours}, max_top_k=300)
    assert found.forwarded == theirs
    assert set(ours) == fields.OURS
    assert (found.answer_tokens, found.max_node_count, found.mode) == (9, 3, "dense")


def test_no_limit_in_llama_cpps_words_is_none() -> None:
    assert asked(max_tokens=-1).answer_tokens is None


def test_the_question_is_all_since_the_last_answer() -> None:
    system = {"role": "system", "content": "Be brief."}
    late = {"role": "system", "content": "In French."}
    parts = {"role": "user", "content": [{"type": "text", "text": "And"}], "name": "Eve"}
    last = {"role": "user", "content": "when?"}
    found = query.split([system, USER, SAID, parts, late, last])
    assert found.question == "And\n\nwhen?"
    assert found.history == (system, USER, SAID, late)
    assert found.asking is last


def test_a_question_that_is_no_text_is_told() -> None:
    with pytest.raises(InvalidError):
        query.split([{"role": "user", "content": "\ud83d"}])
