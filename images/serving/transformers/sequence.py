"""One answer on its way, as the scheduler has it."""

from __future__ import annotations

import time
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Any

from serving.transformers.sampling import Choice, Emit, End, Limits, Piece, Sampling
from serving.transformers.text import Detokenizer


@dataclass(slots=True, eq=False)
class Sequence:
    """A prompt, what was answered so far, and where it goes."""

    prompt: Many[int]
    sampling: Sampling
    limits: Limits
    text: Detokenizer
    emit: Emit
    adapter: str = ""
    """Handle of it; empty is the model alone."""
    asked: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    """Set by any thread: nobody waits for it any more."""
    answered: list[int] = field(default_factory=list)
    sampler: Any = None
    read: int = 0
    """Tokens of prompt and answer that the model has read."""
    begun: float = 0.0
    last: float = 0.0
    """When its latest token came."""
    _untold: list[Choice] = field(default_factory=list)

    @property
    def known(self) -> int:
        """Tokens that the model must have read before it can go on."""
        return len(self.prompt) + len(self.answered)

    def unread(self, most: int) -> list[int]:
        """The next tokens to read. Read anew, an answer is what the model goes on from."""
        split = len(self.prompt)
        if self.read < split:
            chunk = list(self.prompt[self.read : self.read + most])
            return chunk + self.answered[: most - len(chunk)]
        return self.answered[self.read - split : self.read - split + most]

    def take(self, choice: Choice) -> str:
        """One more token; why the answer ends with it, if it does."""
        self.answered.append(choice.token)
        self._untold.append(choice)
        if choice.token in self.limits.end_tokens:
            return self._finish("stop")
        text = self.text.push(choice.token)
        if self.text.stopped:
            self._tell(text)
            return "stop"
        if len(self.answered) >= self.limits.max_tokens:
            return self._finish("length", text)
        if text:
            self._tell(text)
        return ""

    def end(self, reason: str, error: str = "") -> None:
        """Nothing more comes."""
        self.emit(End(reason, error))

    def _finish(self, reason: str, text: str = "") -> str:
        text += self.text.flush()
        self._tell(text)
        return "stop" if self.text.stopped else reason

    def _tell(self, text: str) -> None:
        self.emit(Piece(text, tuple(self._untold)))
        self._untold = []
