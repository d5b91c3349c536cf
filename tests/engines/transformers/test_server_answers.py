"""What the server answers is what the model says: alone, with others, by adapter, by the rules."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engines.transformers.black_box import Document, Server, Tiny

pytestmark = pytest.mark.timeout(300)
CHAT = "/v1/chat/completions"
GREEDY = {"model": "tiny", "temperature": 0, "max_tokens": 24, "ignore_eos": True}
HELLO = [{"role": "user", "content": "hello"}]


def text(answer: Document) -> str:
    return str(answer["choices"][0]["text"])


def test_all_at_once_and_by_adapter_as_generate_says_it_alone(server: Server, tiny: Tiny) -> None:
    """Prompts of four lengths with the model and two adapters, twelve requests on eight places."""
    wanted = [
        (model, each["prompt"], each["text"])
        for model in ("tiny", "warm", "cold")
        for each in tiny.expected[model]
    ]
    assert len({said for _, _, said in wanted}) == len(wanted)

    def ask(case: tuple[str, str, str]) -> Document:
        return server.complete(case[1], case[0], ignore_eos=True)

    with ThreadPoolExecutor(len(wanted)) as pool:
        found = list(pool.map(ask, wanted))
    assert [text(each) for each in found] == [said for _, _, said in wanted]
    assert [each["model"] for each in found] == [model for model, _, _ in wanted]
    assert {each["usage"]["completion_tokens"] for each in found} == {24}


def test_several_prompts_in_one_request(server: Server, tiny: Tiny) -> None:
    prompts = [each["prompt"] for each in tiny.expected["tiny"]]
    _, found = server.ask("/v1/completions", {**GREEDY, "prompt": prompts})
    assert [each["text"] for each in found["choices"]] == [
        each["text"] for each in tiny.expected["tiny"]
    ]


def test_an_adapter_at_half_its_strength_says_something_else(server: Server, tiny: Tiny) -> None:
    prompts = [each["prompt"] for each in tiny.expected["tiny"]]
    said = [text(server.complete(prompt, "half", ignore_eos=True)) for prompt in prompts]
    for whole in ("tiny", "warm"):
        assert said != [each["text"] for each in tiny.expected[whole]]


def test_a_stream_is_the_same_in_pieces(server: Server, tiny: Tiny) -> None:
    expected = tiny.expected["tiny"][1]
    body = {**GREEDY, "prompt": expected["prompt"], "stream_options": {"include_usage": True}}
    chunks = list(server.chunks("/v1/completions", body))
    assert len(chunks) > 10
    choices = [chunk["choices"][0] for chunk in chunks[:-1]]
    assert "".join(choice["text"] for choice in choices) == expected["text"]
    assert [each["finish_reason"] for each in choices][-2:] == [None, "length"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 24
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(server: Server, tiny: Tiny) -> None:
    expected = tiny.expected["tiny"][1]
    stop = expected["text"][8:11]
    until = expected["text"].index(stop)
    found = server.complete(expected["prompt"], stop=[stop, "never to be"], ignore_eos=True)
    assert text(found) == expected["text"][:until]
    assert found["choices"][0]["finish_reason"] == "stop"
    body = {**GREEDY, "prompt": expected["prompt"], "stop": stop}
    streamed = [each["choices"][0] for each in server.chunks("/v1/completions", body)]
    assert "".join(each["text"] for each in streamed) == expected["text"][:until]


def test_a_seed_says_the_same_whoever_else_is_served(server: Server) -> None:
    def ask(seed: int) -> str:
        return text(server.complete("the quick", temperature=1, seed=seed, ignore_eos=True))

    alone = ask(5)
    with ThreadPoolExecutor(6) as pool:
        beside = list(pool.map(ask, [5, 6, 7, 5, 8, 9]))
    assert beside[0] == beside[3] == alone
    assert len(set(beside)) == 5


def test_each_of_n_answers_has_dice_of_its_own(server: Server) -> None:
    found = server.complete("the quick", temperature=1, seed=3, n=3, ignore_eos=True)
    said = [each["text"] for each in found["choices"]]
    assert len(set(said)) == 3
    again = server.complete("the quick", temperature=1, seed=3, n=3, ignore_eos=True)
    assert [each["text"] for each in again["choices"]] == said
    assert found["usage"]["prompt_tokens"] < 10


def test_log_probabilities_are_the_models(server: Server, tiny: Tiny) -> None:
    for expected in tiny.expected["tiny"]:
        found = server.complete(expected["prompt"], logprobs=2, ignore_eos=True)
        told = found["choices"][0]["logprobs"]
        assert sum(told["token_logprobs"]) == pytest.approx(expected["logprob"], abs=1e-2)
        assert len(told["tokens"]) == len(told["top_logprobs"]) == 24
    body = {**GREEDY, "messages": HELLO, "logprobs": True, "top_logprobs": 3}
    _, chat = server.ask(CHAT, body)
    first = chat["choices"][0]["logprobs"]["content"][0]
    assert first["top_logprobs"][0]["logprob"] == first["logprob"]
    assert len(first["top_logprobs"]) == 3


def test_rules_of_choice_are_kept(server: Server) -> None:
    (token,) = server.ask("/tokenize", {"prompt": "x", "add_special_tokens": False})[1]["tokens"]
    assert text(server.complete("the", logit_bias={token: 100}, max_tokens=5)) == "xxxxx"
    narrow = server.complete("the", temperature=2, top_k=1, seed=1, ignore_eos=True)
    assert text(narrow) == text(server.complete("the", ignore_eos=True))
    small = server.complete("the", temperature=2, top_p=1e-6, seed=1, ignore_eos=True)
    assert text(small) == text(narrow)


def test_penalties_count_what_was_answered(server: Server) -> None:
    """A bias makes one token far the likeliest; each time it is said makes it less so."""
    (token,) = server.ask("/tokenize", {"prompt": "x", "add_special_tokens": False})[1]["tokens"]
    rules = {"logit_bias": {token: 30}, "max_tokens": 24, "ignore_eos": True}
    assert text(server.complete("x x x", **rules)) == "x" * 24
    fading = text(server.complete("x x x", frequency_penalty=2, **rules))
    assert fading.startswith("xxxx")
    assert fading != "x" * 24
    # Once and for all: two of thirty are not enough.
    assert text(server.complete("x x x", presence_penalty=2, **rules)) == "x" * 24


def test_a_chat_is_the_templates_prompt(server: Server) -> None:
    _, chat = server.ask(CHAT, {**GREEDY, "messages": HELLO})
    prompt = "<s>user: hello\nassistant:"
    assert chat["choices"][0]["message"]["content"] == text(
        server.complete(prompt, ignore_eos=True)
    )
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    _, same = server.ask(CHAT, {**GREEDY, "messages": parts})
    assert same["choices"][0]["message"] == chat["choices"][0]["message"]
    chunks = list(server.chunks(CHAT, {**GREEDY, "messages": HELLO}))
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    said = "".join(each["choices"][0]["delta"].get("content", "") for each in chunks)
    assert said == chat["choices"][0]["message"]["content"]


def test_responses_are_the_same_chat(server: Server) -> None:
    _, chat = server.ask(CHAT, {**GREEDY, "ignore_eos": False, "messages": HELLO})
    body = {"model": "tiny", "input": "hello", "temperature": 0, "max_output_tokens": 24}
    _, found = server.ask("/v1/responses", body)
    said = chat["choices"][0]["message"]["content"]
    assert found["output"][0]["content"][0]["text"] == said
    events = list(server.chunks("/v1/responses", body))
    assert [each["sequence_number"] for each in events] == [*range(len(events))]
    deltas = [each for each in events if each["type"] == "response.output_text.delta"]
    assert "".join(each["delta"] for each in deltas) == said
    assert events[0]["type"] == "response.created"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == said


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "words"),
    [
        pytest.param(
            CHAT,
            {"model": "gpt-9", "messages": HELLO},
            *(404, "model", "The model `gpt-9` does not exist."),
            id="model",
        ),
        pytest.param(
            CHAT, {"messages": HELLO, "max_token": 3}, 400, "max_token", "unknown field", id="field"
        ),
        pytest.param(
            CHAT,
            {"messages": [{**HELLO[0], "mood": "good"}]},
            *(400, "messages[0].mood", "unknown field"),
            id="field of a message",
        ),
        pytest.param(
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            *(400, "messages[0].content[0]", "only text"),
            id="image",
        ),
        pytest.param(
            CHAT,
            {"messages": HELLO, "response_format": {"type": "json_object"}},
            *(400, "response_format", "cannot hold an answer to a format"),
            id="format",
        ),
        pytest.param(
            CHAT, {"messages": HELLO, "tool_choice": "required"}, 400, "tool_choice", "", id="tools"
        ),
        pytest.param(
            "/v1/completions",
            {"prompt": "the quick", "max_tokens": 511},
            *(400, "messages", "513 tokens (2 in the prompt, 511 for the answer)"),
            id="context",
        ),
        pytest.param(
            "/v1/completions", {"prompt": [1, 9999]}, 400, "prompt", "9999 is no token", id="token"
        ),
        pytest.param(
            "/v1/responses", {"input": "a", "previous_response_id": "r"}, 400, None, "", id="stored"
        ),
    ],
)
def test_what_it_cannot_do_it_says(
    server: Server, path: str, body: Document, status: int, param: str | None, words: str
) -> None:
    found, answer = server.ask(path, body)
    assert found == status
    error: dict[str, Any] = answer["error"]
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param
    assert words in error["message"]


def test_the_models_are_listed_with_the_base_first(server: Server) -> None:
    _, found = server.ask("/v1/models")
    rows = [(each["id"], each["parent"], each["max_model_len"]) for each in found["data"]]
    adapters = [(name, "tiny", 512) for name in ("cold", "half", "warm")]
    assert rows == [("tiny", None, 512), *adapters]
