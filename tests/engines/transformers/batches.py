"""Run with the image's Python: what the scheduler makes of many requests at once, beside what
plain `model.generate` makes of each alone, as JSON by kind of model."""

from __future__ import annotations

import json
import queue
import sys
from typing import Any

import torch
from serving.transformers.runner import Runner
from serving.transformers.sampling import End, Event, Limits, Sampling
from serving.transformers.scheduler import Scheduler
from serving.transformers.sequence import Sequence
from serving.transformers.text import Detokenizer
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

VOCABULARY = 200
LENGTHS = (3, 40, 11, 1, 25, 18)
ANSWER = 24
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2}
ATTENTION = {
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}


def models() -> dict[str, Any]:
    torch.manual_seed(0)
    windows = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
    return {
        "llama": LlamaForCausalLM(LlamaConfig(**SMALL, **ATTENTION)),
        "gemma": Gemma3ForCausalLM(
            Gemma3TextConfig(**SMALL, **ATTENTION, **windows, tie_word_embeddings=False)
        ),
        "mamba": MambaForCausalLM(MambaConfig(**SMALL, state_size=8, initializer_range=0.3)),
    }


class NoAdapters:
    def activate(self, handle: str) -> None:
        assert handle == ""

    def delete(self, handle: str) -> None:
        raise AssertionError


def plain(model: Any, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    rules = {"max_new_tokens": ANSWER, "min_new_tokens": ANSWER, "do_sample": False}
    found = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **rules)
    return list(map(int, found[0, len(prompt) :]))


def together(model: Any, prompts: list[list[int]], *, capacity: int) -> dict[str, Any]:
    """All at once, prompts read in pieces of 8."""
    runner = Runner(model)
    runner.look()
    ended: queue.Queue[Event] = queue.Queue()
    died: list[BaseException] = []
    scheduler = Scheduler(
        runner, NoAdapters(), at_once=4, chunk=8, capacity=capacity, died=died.append
    )

    def emit(event: Event) -> None:
        if isinstance(event, End):
            ended.put(event)

    limits = Limits(max_tokens=ANSWER)
    answers = [
        Sequence(prompt, Sampling(temperature=0.0), limits, Detokenizer(lambda _: ""), emit)
        for prompt in prompts
    ]
    for answer in answers:
        scheduler.submit(answer)
    scheduler.start()
    reasons = [ended.get(timeout=60).reason for _ in answers if not died]
    return {
        "answers": [answer.answered for answer in answers],
        "reasons": reasons,
        "shares": runner.shares,
        "chunks": runner.chunks,
    }


def main() -> None:
    torch.set_num_threads(1)
    dice = torch.Generator().manual_seed(1)
    prompts = [
        torch.randint(3, VOCABULARY, (length,), generator=dice).tolist() for length in LENGTHS
    ]
    from serving.transformers import metrics

    found: dict[str, Any] = {}
    for name, model in models().items():
        model.eval()
        model.generation_config.eos_token_id = None
        before = metrics.PREEMPTIONS._value.get()
        roomy = together(model, prompts, capacity=10_000)
        calm = metrics.PREEMPTIONS._value.get() - before
        narrow = together(model, prompts, capacity=100)
        found[name] = {
            "alone": [plain(model, prompt) for prompt in prompts],
            "roomy": roomy,
            "narrow": narrow,
            "preemptions": [calm, metrics.PREEMPTIONS._value.get() - before - calm],
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
