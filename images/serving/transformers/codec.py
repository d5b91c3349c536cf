"""Text to tokens and back, with the model's own tokenizer and its template for chats."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

_THINKING = "</think>"
_OURS = frozenset(
    {
        *("conversation", "chat_template", "tools", "sanitize_control_tokens"),
        *("tokenize", "tokenizer_kwargs", "padding", "truncation", "max_length"),
        *("return_tensors", "return_dict", "return_assistant_tokens_mask"),
    }
)
"""What requests may not set: a template of one's own is a program, which may never end."""


class PromptError(Exception):
    """The request cannot be made a prompt; the message is for the user, in one line."""


class Codec:
    """For any thread: encoding may wait for another's, decoding does not."""

    def __init__(self, tokenizer: Any, template: str = "") -> None:
        self._encoder = tokenizer
        # A tokenizer is changed while it encodes; the engine's thread decodes with another one.
        self._decoder = copy.deepcopy(tokenizer)
        self._lock = threading.Lock()
        if template:
            tokenizer.chat_template = template
        self.has_template = bool(tokenizer.chat_template)
        self.thinks = _THINKING in str(tokenizer.chat_template or "")
        """Whether answers may begin with what the model thinks, between markers."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """What ends an answer as the tokenizer knows it."""
        end = self._encoder.eos_token_id
        return frozenset() if end is None else frozenset([int(end)])

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """`special`: with what the model wants in front of a text, such as its first token."""
        with self._lock:
            found: list[int] = self._encoder.encode(text, add_special_tokens=special)
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        """Without the tokens that are no text."""
        found: str = self._decoder.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return found

    def piece(self, token: int) -> str:
        """One token alone, special ones too; half a character shows as such."""
        found: str = self._decoder.decode([token], clean_up_tokenization_spaces=False)
        return found

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        more: Mapping[str, Any],
    ) -> str:
        """The prompt that the template makes of a conversation; PromptError where it cannot."""
        if not self.has_template:
            raise PromptError(
                "the model has no chat template: use /v1/completions, or start the server with"
                " --chat-template"
            )
        if refused := sorted(_OURS & more.keys()):
            raise PromptError(f"chat_template_kwargs: {', '.join(refused)} cannot be set here")
        options = {"add_generation_prompt": True, **more}
        try:
            with self._lock:
                found: str = self._encoder.apply_chat_template(
                    list(messages), tools=list(tools) or None, tokenize=False, **options
                )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            words = " ".join(str(error).split())
            raise PromptError(f"the chat template refuses the messages: {words}") from error
        return found
