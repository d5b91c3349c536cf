"""What chats are answered with. The environment is read by `rag.settings`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

LOWEST_RATIO, HIGHEST_RATIO = 0.2, 0.8
"""Of `context_token_ratio`, as upstream has them."""


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """`url` is the LLM's: of its chat completions, of its `/v1`, or of the server alone."""

    url: str | None = None
    """LLM_INFERENCE_URL; without it chats are refused, and /retrieve works."""
    key: str | None = field(default=None, repr=False)
    """LLM_ACCESS_SECRET; sent as `Authorization: Bearer`. Nothing is sent without one."""
    context_window: int = 64_000
    """LLM_CONTEXT_WINDOW, tokens; less where the server says that the model has less."""
    fill_ratio: float = 0.5
    """RAG_CONTEXT_TOKEN_FILL_RATIO: the most that passages take of the window besides the
    question, where a request does not say."""
    similarity_threshold: float | None = None
    """RAG_SIMILARITY_THRESHOLD, the squared L2 distance of unit vectors, as upstream has it:
    what was found by its vector alone is left out where it is farther. None: rank and room
    decide."""
    top_k: int = 20
    """RAG_CHAT_TOP_K: how many chunks are looked for."""
    max_top_k: int = 300
    """RAG_MAX_TOP_K: the most that a request may ask for."""
    node_tokens: float | None = None
    """RAG_DOCUMENT_NODE_TOKEN_APPROXIMATION: where it is set, as many chunks are looked for as
    chunks of this size fit, up to `max_top_k`."""
    tokenizer: Path | None = None
    """RAG_CHAT_TOKENIZER: the model's tokenizer.json, for servers that do not count tokens."""
    refuse_without_context: bool = False
    """RAG_CHAT_REQUIRE_CONTEXT: 404 where nothing is found or fits, and the LLM is not asked."""
    connect_timeout: float = 10.0
    read_timeout: float = 300.0
    """Seconds without a byte from the LLM."""
    keep_alive: float = 15.0
    """Seconds without an event after which a stream has a comment, lest a proxy end it."""
