"""POST /v1/chat/completions: from a body to an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rag.chat import endpoint
from rag.chat.completions import Completions
from rag.chat.llm import Llm
from rag.chat.replies import Reply
from rag.chat.seams import Guardrails, Retriever
from rag.chat.settings import ChatSettings
from rag.errors import BadRequestError, NoLlmError

_NO_LLM: Final = (
    "No inference service is configured (LLM_INFERENCE_URL is not set), so chat completions are"
    " not available. Use /retrieve to get passages without one."
)


class Chat:
    """Holds connections and what is known of the models; of a request, nothing."""

    def __init__(
        self, retriever: Retriever, settings: ChatSettings, guardrails: Guardrails
    ) -> None:
        self._unusable = ""
        self._completions: Completions | None = None
        try:
            at = endpoint.endpoint(settings.url) if settings.url else None
        except BadRequestError as error:  # the rest of the service needs no LLM
            self._unusable, at = error.detail, None
        if at is not None:
            llm = Llm(
                at,
                key=settings.key,
                connect=settings.connect_timeout,
                read=settings.read_timeout,
            )
            self._completions = Completions(llm, retriever, settings, guardrails)

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        """Raises RagError. A refusal of the LLM (4xx) is an Answer with its status."""
        if self._completions is not None:
            return await self._completions.complete(body)
        if self._unusable:
            raise BadRequestError(self._unusable)
        raise NoLlmError(_NO_LLM)

    async def close(self) -> None:
        if self._completions is not None:
            await self._completions.close()
