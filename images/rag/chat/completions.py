"""One request after another: looked at, looked up, asked, and shown. Each has its own values from
its first line to its last, and nothing waits for another one's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rag.chat import citations, fields, guarded, messages
from rag.chat.counting import FileTokenizer, ServerTokenizer
from rag.chat.fields import Asked
from rag.chat.grounding import Grounding
from rag.chat.guarded import Pieces
from rag.chat.llm import Llm, RefusedError
from rag.chat.replies import Answer, Reply
from rag.chat.seams import Guardrails, Retriever
from rag.chat.served import Served
from rag.chat.settings import ChatSettings
from rag.chat.stream import stream
from rag.chat.tokens import Tokenizer, Tokens
from rag.documents import Hit


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the LLM is sent, and what goes with its answer."""

    body: Mapping[str, Any]
    hits: tuple[Hit, ...] | None
    """None where nothing was looked up."""
    headers: Mapping[str, str]


class Completions:
    """Of one inference service."""

    def __init__(
        self, llm: Llm, retriever: Retriever, settings: ChatSettings, guardrails: Guardrails
    ) -> None:
        self._llm = llm
        self._retriever = retriever
        self._settings = settings
        self._guardrails = guardrails
        self._served = Served(llm)
        tokens = Tokens(_tokenizers(llm, settings))
        self._grounding = Grounding(retriever, tokens, self._served, settings)

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        asked = fields.read(body, max_top_k=self._settings.max_top_k)
        if asked.stream:
            self._guardrails.check_stream()
        if asked.index:
            await self._retriever.check(asked.index)
        prepared = await self._prepare(asked)
        try:
            return await (self._stream(prepared) if asked.stream else self._whole(prepared))
        except RefusedError as refused:
            return _refusal(refused)

    async def close(self) -> None:
        await self._llm.close()

    async def _prepare(self, asked: Asked) -> _Prepared:
        passes = messages.decide(asked)
        model = asked.model or await self._served.default()
        body = {name: each for name, each in asked.forwarded.items() if name != "model"}
        if model:
            body["model"] = model
        if passes is not None:
            return _Prepared(body, None, {})
        grounded = await self._grounding.ground(asked, model)
        timing = ", ".join(
            f"{name};dur={seconds * 1000:.1f}" for name, seconds in grounded.timings.items()
        )
        body["messages"] = grounded.messages
        body |= fields.lowered(asked.forwarded, grounded.answer_tokens)
        return _Prepared(body, grounded.hits, {"Server-Timing": timing} if timing else {})

    async def _whole(self, prepared: _Prepared) -> Reply:
        found = await self._llm.complete(prepared.body)
        shown = await guarded.whole(found, self._guardrails)
        more = citations.extension(prepared.hits, citations.text_of(shown))
        return Answer(200, {**shown, **more}, prepared.headers)

    async def _stream(self, prepared: _Prepared) -> Reply:
        return stream(
            await self._llm.open(prepared.body),
            hits=prepared.hits,
            pieces=Pieces(self._guardrails),
            keep_alive=self._settings.keep_alive,
            headers=prepared.headers,
        )


def _tokenizers(llm: Llm, settings: ChatSettings) -> list[Tokenizer]:
    found: list[Tokenizer] = [ServerTokenizer(llm)]
    if settings.tokenizer is not None:
        found.append(FileTokenizer(settings.tokenizer))
    return found


def _refusal(refused: RefusedError) -> Answer:
    """In FastAPI's form, and beside it in OpenAI's where it came so, which is where their clients
    look for the reason."""
    body: dict[str, Any] = {"detail": refused.body}
    if isinstance(refused.body, dict) and "error" in refused.body:
        body["error"] = refused.body["error"]
    return Answer(refused.status, body, refused.headers)
