"""From a question to the passages that go with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rag.chat import budget, prompt, query
from rag.chat.budget import Room
from rag.chat.fields import Asked
from rag.chat.query import Conversation
from rag.chat.seams import Retriever
from rag.chat.served import Served
from rag.chat.settings import ChatSettings
from rag.chat.tokens import Tokens, ceiling
from rag.documents import Hit
from rag.errors import BadRequestError, NotFoundError

_TEMPLATE: Final = 150
"""Tokens for what the chat template puts around messages, as upstream reserves."""
_A_MESSAGE: Final = 8
_AROUND: Final = 4
"""For the blank line after a passage, and since a text may be cut otherwise within another."""
_LONG_NUMBER: Final = 99
"""In place of a passage's own, so that its count does not change with its rank."""


@dataclass(frozen=True, slots=True)
class Grounded:
    """What the LLM is asked, and what was put before it."""

    messages: list[dict[str, Any]]
    hits: tuple[Hit, ...]
    timings: Mapping[str, float]
    """Seconds, of the retrieval."""
    answer_tokens: int | None
    """What they leave for the answer; None where nothing was put before it."""


class Grounding:
    """Asks and counts; what it decides is in `budget` and `prompt`."""

    def __init__(
        self, retriever: Retriever, tokens: Tokens, served: Served, settings: ChatSettings
    ) -> None:
        self._retriever = retriever
        self._tokens = tokens
        self._served = served
        self._settings = settings

    async def ground(self, asked: Asked, model: str | None) -> Grounded:
        """BadRequestError where the prompt is too long by itself; NotFoundError where nothing is
        found or fits, and the settings want a refusal then; what the retriever raises."""
        conversation = query.split(asked.messages)
        room = await self._room(asked, conversation, model)
        if room.overfull:
            raise BadRequestError("Prompt length exceeds context window.")
        found = await self._retriever.retrieve(
            asked.index or "",
            conversation.question,
            top_k=self._top_k(asked, room),
            mode=asked.mode,
            metadata_filter=asked.metadata_filter or None,
            rerank=asked.rerank,
        )
        near = [hit for hit in found.hits if is_near(hit, self._settings.similarity_threshold)]
        hits, tokens = await self._fitting(near, room, model)
        if not hits and self._settings.refuse_without_context:
            raise NotFoundError(_nothing(asked.index or "", any_found=bool(near)))
        if not hits:
            return Grounded(list(asked.messages), hits, found.timings, None)
        sent = prompt.messages(conversation, hits)
        return Grounded(sent, hits, found.timings, room.for_answer(tokens))

    async def _room(self, asked: Asked, conversation: Conversation, model: str | None) -> Room:
        texts = [query.text_of(each) for each in conversation.history]
        tools = [
            asked.forwarded[name] for name in ("tools", "functions") if name in asked.forwarded
        ]
        texts += [json.dumps(each) for each in tools if each]
        counted = [prompt.INSTRUCTIONS, conversation.question, *texts]
        (instructions, question, *history), window = await asyncio.gather(
            self._tokens.count(counted, model),
            self._served.window(model, self._settings.context_window),
        )
        return Room(
            window=window,
            conversation=question + sum(history),
            overhead=instructions + _A_MESSAGE * len(texts) + _TEMPLATE,
            question=question,
            answer=asked.answer_tokens,
            ratio=self._settings.fill_ratio if asked.ratio is None else asked.ratio,
        )

    def _top_k(self, asked: Asked, room: Room) -> int:
        if asked.max_node_count is not None:
            return asked.max_node_count
        return budget.how_many(
            room,
            self._settings.top_k,
            most=self._settings.max_top_k,
            node_tokens=self._settings.node_tokens,
        )

    async def _fitting(
        self, hits: Sequence[Hit], room: Room, model: str | None
    ) -> tuple[tuple[Hit, ...], int]:
        """With their tokens. Not counted where all of it must fit, however it is cut into tokens,
        and the answer beside it."""
        line = prompt.fence(hit.text for hit in hits)
        texts = [prompt.passage(_LONG_NUMBER, hit, line) for hit in hits]
        costs = [ceiling(text) + _AROUND for text in texts]
        if sum(costs) > room.for_passages or room.for_answer(sum(costs)) < (room.answer or 0):
            costs = [cost + _AROUND for cost in await self._tokens.count(texts, model)]
        chosen = budget.select(costs, room.for_passages)
        return tuple(hits[place] for place in chosen), sum(costs[place] for place in chosen)


def is_near(hit: Hit, threshold: float | None) -> bool:
    """Upstream's threshold is a squared L2 distance d; of unit vectors, the cosine is 1 - d / 2.
    What BM25 has found too is judged by its rank."""
    if threshold is None or hit.source != "dense_only" or hit.dense_score is None:
        return True
    return hit.dense_score >= 1 - threshold / 2


def _nothing(name: str, *, any_found: bool) -> str:
    if any_found:
        return f"No passage of index '{name}' fits into the room that the context window leaves."
    return f"Nothing was found in index '{name}' for this question."
