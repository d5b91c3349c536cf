"""Run with the image's Python: one request that goes wrong beside others that do not, with models
of a few numbers; what became of each as JSON, by case."""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from serving.transformers.codec import Codec, PromptError
from serving.transformers.runner import Batch, Runner, UnsuitedError
from serving.transformers.sampling import End, Event, Limits, Sampling
from serving.transformers.scheduler import Scheduler
from serving.transformers.sequence import Sequence
from serving.transformers.text import Detokenizer
from transformers import LlamaConfig, LlamaForCausalLM

SIZE = 32
POISON = 7
"""A token after which the model's numbers are none."""


class Poisoned(LlamaForCausalLM):
    def forward(self, input_ids: Any = None, **given: Any) -> Any:
        found = super().forward(input_ids=input_ids, **given)
        found.logits[(input_ids == POISON).any(dim=1)] = float("nan")
        return found


class Blind(LlamaForCausalLM):
    """Sees padding as if it were text."""

    def forward(
        self,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        **given: Any,
    ) -> Any:
        return super().forward(past_key_values=past_key_values, **given)


class Forgetful(LlamaForCausalLM):
    """Does not go on from what it has read."""

    def forward(self, past_key_values: Any = None, **given: Any) -> Any:
        return super().forward(**given)


class Adapters:
    """Fails as PEFT does where an adapter is used that is no more."""

    def __init__(self) -> None:
        self.there = {"", "late"}

    def activate(self, handle: str) -> None:
        if handle not in self.there:
            raise KeyError(handle)

    def delete(self, handle: str) -> None:
        self.there.discard(handle)


def made(kind: type[LlamaForCausalLM]) -> Any:
    torch.manual_seed(0)
    return kind(
        LlamaConfig(
            vocab_size=SIZE,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=128,
            initializer_range=0.5,
        )
    ).eval()


def seen(kind: type[LlamaForCausalLM]) -> Any:
    runner = Runner(made(kind))
    try:
        runner.look()
    except UnsuitedError as error:
        return str(error)
    return {"shares": runner.shares, "chunks": runner.chunks}


def answers(
    asked: dict[str, dict[str, Any]], kind: type[LlamaForCausalLM] = Poisoned, **given: Any
) -> dict[str, str]:
    """Why each ended. `asked`: fields of Sampling, `prompt`, `adapter` and `decode` by name."""
    ended: queue.Queue[tuple[str, str]] = queue.Queue()
    runner = Runner(made(kind))
    runner.shares = runner.chunks = True
    retire = given.pop("retire", "")
    capacity = given.pop("capacity", 1000)
    scheduler = Scheduler(
        runner,
        Adapters(),
        at_once=4,
        chunk=8,
        capacity=capacity,
        died=lambda error: ended.put(("", repr(error))),
    )

    def listen(name: str) -> Any:
        def emit(event: Event) -> None:
            if isinstance(event, End):
                ended.put((name, event.reason))

        return emit

    for name, rules in asked.items():
        prompt = rules.pop("prompt", [3, 4])
        adapter = rules.pop("adapter", "")
        text = Detokenizer(rules.pop("decode", lambda _: ""))
        sampling = Sampling(**{"temperature": 0.0, **rules})
        limits = Limits(max_tokens=12)
        scheduler.submit(Sequence(prompt, sampling, limits, text, listen(name), adapter))
    if retire:
        scheduler.call(lambda: scheduler.retire(retire))
    scheduler.start()
    found: dict[str, str] = {}
    while len(found) < len(asked) and "" not in found:
        name, reason = ended.get(timeout=30)
        found[name] = reason
    return found


def refuse(_: Any) -> str:
    raise OverflowError("no such token")


@contextmanager
def no_memory_to(method: str) -> Iterator[None]:
    kept = getattr(Batch, method)

    def fail(self: Batch, *_: Any) -> None:
        raise torch.OutOfMemoryError("no memory")

    setattr(Batch, method, fail)
    try:
        yield
    finally:
        setattr(Batch, method, kept)


class Templated:
    chat_template = "{{ messages }}"

    def apply_chat_template(self, *_: Any, **given: Any) -> str:
        return str(sorted(given))


def rendered(**more: Any) -> str:
    try:
        return Codec(Templated()).chat([], [], more)
    except PromptError as error:
        return f"refused: {error}"


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "nan": answers({"bad": {"prompt": [POISON], "temperature": 1.0}, "good": {}}),
        "cold": answers({"bad": {"temperature": 1e-45}, "good": {}}),
        "colder than numbers": answers({"bad": {"temperature": 1e-300}, "good": {}}),
        "undecodable": answers({"bad": {"decode": refuse}, "good": {}}),
        "given way": answers({"good": {}, "late": {"adapter": "late"}}, capacity=16, retire="late"),
        "plain": seen(LlamaForCausalLM),
        "blind": seen(Blind),
        "forgetful": seen(Forgetful),
        "template": [rendered(enable_thinking=True), rendered(chat_template="x")],
    }
    with no_memory_to("join"):
        found["join"] = answers({"one": {}, "two": {}, "other": {"adapter": "late"}})
    with no_memory_to("keep"):
        found["keep"] = answers({"one": {"prompt": [3]}, "two": {"prompt": [3] * 9}})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
