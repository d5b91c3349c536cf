"""The transformers image without its libraries: flags, text as it comes, and what is in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from serving.transformers import arguments, bodies, errors
from serving.transformers.dialogue import Dialogue
from serving.transformers.items import Items
from serving.transformers.options import UsageError
from serving.transformers.text import Detokenizer


def test_flags_in_both_spellings_and_options_with_types() -> None:
    found = arguments.parse(
        [
            "--pretrained-model-name-or-path=/w",
            "--trust_remote_code",
            "--allow-remote-files",
            "false",
            "--load_in_4bit",
            "true",
            "--bnb_4bit_quant_type=nf4",
            "--no-bnb-4bit-use-double-quant",
            '--max_memory={"0":"20GiB"}',
            "--llm_int8_skip_modules=lm_head,embed",
        ]
    )
    assert (found.model, found.trust_remote_code, found.remote) == ("/w", True, False)
    assert found.served_name == "/w"
    assert found.loader == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": False,
        "max_memory": {"0": "20GiB"},
        "llm_int8_skip_modules": ["lm_head", "embed"],
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--load_in_4bits"], "did you mean --load_in_4bit", id="unknown"),
        pytest.param(["--load_in_4bit=maybe"], "neither true nor false", id="no switch"),
        pytest.param(["--load_in_4bit", "--load_in_8bit"], "keep one", id="both"),
        pytest.param(["--pipeline=fill-mask"], "invalid choice", id="pipeline"),
        pytest.param(["--max-model-len=long"], "no number of tokens", id="context"),
        pytest.param(["stray"], "belongs to no option", id="stray"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        arguments.parse(words)


def test_the_file_wins_over_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("transformers:\n  load_in_8bit: true\n  max_model_len: 1k\n  max-num-seqs: 3\n")
    words = ["--max-model-len=2000", "--no-load-in-8bit", f"--kaito_config_file={file}"]
    found = arguments.parse(words)
    assert (found.max_model_len, found.max_sequences) == (1000, 3)
    assert found.loader == {"load_in_8bit": True}


def decode(tokens: Any) -> str:
    return bytes(tokens).decode(errors="replace")


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=2))
def test_text_comes_whole_up_to_the_first_stop(text: str, stop: list[str]) -> None:
    """A token a byte: characters and stop strings come in parts."""
    found = Detokenizer(decode, stop)
    said = ""
    for byte in text.encode():
        if not found.stopped:
            said += found.push(byte)
    said += found.flush()
    assert said == until(text, stop)


def until(text: str, stop: list[str]) -> str:
    """Up to the end of the first stop string to be complete, then without it."""
    for end in range(len(text) + 1):
        for each in sorted(stop, key=lambda word: -len(word)):
            if text[:end].endswith(each):
                return text[: end - len(each)]
    return text


def told(dialogue: Dialogue, text: str, size: int) -> tuple[str, str]:
    content = reasoning = ""
    for start in range(0, len(text), size):
        delta = dialogue.push(text[start : start + size])
        content, reasoning = content + delta.content, reasoning + delta.reasoning
    last = dialogue.finish()
    return content + last.content, reasoning + last.reasoning


HERMES = '<tool_call>\n{"name": "sum", "arguments": {"a": 1}}\n</tool_call>'


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        pytest.param(f"Wait. {HERMES}{HERMES}", "Wait.", 2, id="hermes"),
        pytest.param('{"name": "sum", "parameters": {"a": 1}}', "", 1, id="llama"),
        pytest.param('<|python_tag|>{"name": "sum", "parameters": {}}', "", 1, id="python tag"),
        pytest.param('[TOOL_CALLS][{"name": "sum", "arguments": {}}]', "", 1, id="mistral"),
        pytest.param('{"name": "rob"}', '{"name": "rob"}', 0, id="of no such function"),
        pytest.param("{not json", "{not json", 0, id="no json"),
        pytest.param("1 < 2 and [2]", "1 < 2 and [2]", 0, id="text"),
    ],
)
def test_calls_are_found_in_pieces_of_any_size(
    text: str, content: str, calls: int, size: int
) -> None:
    dialogue = Dialogue(functions=["sum"])
    assert told(dialogue, text, size)[0].strip() == content
    assert [call.name for call in dialogue.calls] == ["sum"] * calls


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(
    ("text", "thinking", "content", "reasoning"),
    [
        pytest.param("<think>a < b</think>\n\nyes", False, "yes", "a < b", id="opened"),
        pytest.param("a < b</think>yes", True, "yes", "a < b", id="opened by the prompt"),
        pytest.param("yes <think>", False, "yes <think>", "", id="not at all"),
        pytest.param("<think>for ever", False, "", "for ever", id="never closed"),
    ],
)
def test_thoughts_are_told_apart(
    text: str, thinking: bool, content: str, reasoning: str, size: int
) -> None:
    found = told(Dialogue(thinks=True, thinking=thinking), text, size)
    assert (found[0].strip("\n"), found[1]) == (content, reasoning)


def test_items_tell_what_they_hold() -> None:
    items = Items()
    events = [*items.think("hm"), *items.say("a"), *items.say("b"), *items.close()]
    kinds = [kind for kind, _ in events]
    assert kinds.count("response.output_item.added") == 2
    assert kinds.count("response.output_item.done") == 2
    assert [each["type"] for each in items.documents()] == ["reasoning", "message"]
    assert [more["output_index"] for kind, more in events if kind.endswith("item.added")] == [0, 1]
    assert items.documents()[1]["content"][0]["text"] == "ab"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({"messages": []}, "messages", id="nothing said"),
        pytest.param({"messages": [{"role": "king"}]}, "messages[0].role", id="role"),
        pytest.param({"messages": [{"role": "user"}], "n": 0}, "n", id="number"),
        pytest.param({"messages": [{"role": "user"}], "logit_bias": {"1": 101}}, None, id="bias"),
    ],
)
def test_an_error_names_the_field(body: Any, param: str | None) -> None:
    with pytest.raises(ValidationError) as caught:
        bodies.Chat.model_validate(body)
    error = errors.invalid(caught.value).body["error"]
    assert error["param"] == (param or "logit_bias.1")
    assert error["message"].startswith(error["param"])


@pytest.mark.parametrize("number", ["1e-45", "Infinity", "1e300"])
def test_a_penalty_that_overflows_is_refused(number: str) -> None:
    body = f'{{"prompt": "a", "repetition_penalty": {number}}}'
    with pytest.raises(ValidationError, match="repetition_penalty"):
        bodies.Completion.model_validate_json(body)


@pytest.mark.parametrize("name", ["[]", "{}"])
def test_what_names_no_function_is_text(name: str) -> None:
    dialogue = Dialogue(functions=["f"])
    text = f'<tool_call>{{"name": {name}}}</tool_call>'
    dialogue.push(text)
    assert dialogue.finish().content == text


@pytest.mark.parametrize("inside", [f"x{' ' * 50_000}x", "[" * 200_000], ids=["blanks", "brackets"])
def test_a_call_that_never_comes_holds_nobody_up(inside: str) -> None:
    """Models get lost like that; trying each blank took half a minute."""
    dialogue = Dialogue(functions=["f"])
    dialogue.push(f"<tool_call>{inside}")
    began = time.process_time()
    assert dialogue.finish().content
    assert time.process_time() - began < 1.0
