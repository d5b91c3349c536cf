"""Counting tokens, and knowing the models, without asking twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from rag.chat.counting import FileTokenizer
from rag.chat.endpoint import endpoint
from rag.chat.llm import Llm, RefusedError
from rag.chat.served import Served
from rag.chat.tokens import CountError, Tokens, ceiling, estimate
from rag.errors import LlmError


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Words:
    """A word is a token, while it works."""

    works: bool = True
    asked: list[tuple[str | None, list[str]]] = field(default_factory=list)

    async def count(self, texts: Sequence[str], model: str | None) -> list[int]:
        self.asked.append((model, list(texts)))
        if not self.works:
            raise CountError("down")
        return [len(each.split()) for each in texts]


async def test_each_text_is_counted_once_for_each_model() -> None:
    words = Words()
    tokens = Tokens([words])
    assert await tokens.count(["a b", "", "c", "a b"], "m") == [2, 0, 1, 2]
    assert await tokens.count(["c", "d e f"], "m") == [1, 3]
    assert await tokens.count(["c"], "other") == [1]
    assert words.asked == [("m", ["a b", "c"]), ("m", ["d e f"]), ("other", ["c"])]


async def test_what_cannot_count_rests_and_the_next_one_counts() -> None:
    clock, first, second = Clock(), Words(works=False), Words()
    tokens = Tokens([first, second], rest=60, clock=clock)
    for each in ("a b", "c d e"):
        assert await tokens.count([each], "m") == [len(each.split())]
    assert len(first.asked) == 1
    assert await tokens.count(["f"], "other") == [1]
    assert len(first.asked) == 2  # a model that the server does not know is not all models
    clock.now, first.works = 61.0, True
    await tokens.count(["g"], "m")
    assert first.asked[-1] == ("m", ["g"])


async def test_estimates_are_made_anew_so_that_exact_counts_replace_them() -> None:
    clock, words = Clock(), Words(works=False)
    tokens = Tokens([words], rest=60, clock=clock)
    text = "extraordinarily long"
    assert await tokens.count([text], None) == [estimate(text)]
    clock.now, words.works = 60.0, True
    assert await tokens.count([text], None) == [2]


async def test_only_so_many_counts_are_kept() -> None:
    words = Words()
    tokens = Tokens([words], kept=2)
    assert await tokens.count(["a", "b", "c"], "m") == [1, 1, 1]
    await tokens.count(["b", "c"], "m")
    assert len(words.asked) == 1
    await tokens.count(["a"], "m")
    assert len(words.asked) == 2


async def test_a_large_estimate_is_no_different() -> None:
    text = "word, " * 10_000
    assert await Tokens([]).count([text], None) == [estimate(text)]


@given(st.text(max_size=300))
def test_an_estimate_is_no_less_than_letters_by_fives(text: str) -> None:
    assert estimate(text) >= sum(not each.isspace() for each in text) / 5
    assert ceiling(text) > len(text.encode("utf-8", "surrogatepass"))


async def test_a_tokenizer_of_a_file(tmp_path: Path) -> None:
    words = {"a": 0, "b": 1, "?": 2}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()  # type: ignore[assignment]
    made.enable_truncation(2)
    made.enable_padding(length=2)
    made.save(str(tmp_path / "tokenizer.json"))
    counted = await FileTokenizer(tmp_path / "tokenizer.json").count(["a b a b", "b", ""], "m")
    assert counted == [4, 1, 0]


async def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    for name in ("tokenizer.json", "missing.json"):
        with pytest.raises(CountError, match=name):
            await FileTokenizer(tmp_path / name).count(["a"], None)


@dataclass
class Listing:
    """An LLM of which only the list of models is asked."""

    answer: Any
    asked: int = 0
    endpoint = endpoint("http://llm/v1")

    async def get(self, url: str, *, timeout: float) -> Any:
        assert url == "http://llm/v1/models"
        assert timeout < 10
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def served(answer: Any) -> tuple[Served, Listing, Clock]:
    listing, clock = Listing(answer), Clock()
    return Served(cast("Llm", listing), clock), listing, clock


async def test_models_are_listed_anew_from_time_to_time() -> None:
    found, listing, clock = served({"data": [{"id": "one"}, {"id": "two"}]})
    assert [await found.default() for _ in range(3)] == ["one"] * 3
    assert listing.asked == 1
    clock.now, listing.answer = 61.0, {"data": [{"id": "three"}]}
    assert await found.default() == "three"


@pytest.mark.parametrize("error", [LlmError("down"), RefusedError(404, {}, {})])
async def test_a_list_that_cannot_be_had_is_asked_for_again_soon(error: Exception) -> None:
    found, listing, clock = served(error)
    assert [await found.default() for _ in range(3)] == [None] * 3
    assert listing.asked == 1
    clock.now, listing.answer = 16.0, {"data": [{"id": "one"}]}
    assert await found.default() == "one"
    clock.now, listing.answer = 90.0, error
    assert await found.default() == "one"


@pytest.mark.parametrize(
    ("entry", "window"),
    [
        ({"id": "m", "max_model_len": 2048}, 2048),
        ({"id": "m", "meta": {"n_ctx": 4096, "n_ctx_train": 9}}, 4096),
        ({"id": "m", "max_model_len": 100_000}, 64_000),
        ({"id": "m", "max_model_len": "many"}, 64_000),
        ({"id": "another", "max_model_len": 5}, 64_000),
    ],
)
async def test_the_window_is_no_wider_than_the_model(entry: dict[str, Any], window: int) -> None:
    found, _, _ = served({"data": [entry]})
    assert await found.window("m", 64_000) == window


@pytest.mark.parametrize("answer", [[], {}, {"data": {}}, {"data": [1, {"id": 2}]}, None])
async def test_a_list_of_another_form_is_none(answer: Any) -> None:
    found, _, _ = served(answer)
    assert await found.default() is None
    assert await found.window(None, 10) == 10
