"""How much work may wait: beyond it 429, as KAITO's images answer, and when to come again."""

from __future__ import annotations

import math
import re

ENV = "KAITO_RATE_LIMIT"
OFF = "off"

ROUTES = re.compile(
    r"/("
    r"v1/(chat/completions|completions|responses|messages|embeddings|score|rerank|audio|realtime"
    r"|systemone)"
    r"|v2/(embed|rerank)|cohere/v2/chat|inference/v1/generate|generative_scoring"
    r"|tokenize|detokenize|pooling|classify|score|rerank|embed|generate|invocations|chat"
    r")(/.*)?"
)
"""What makes an engine work, with all below it; not health, metrics and models, and nothing that
an operator does."""
_SECONDS = (1, 60)
_WEIGHT = 0.1
"""Of a request in the mean of how long they take."""


class Limit:
    """Counts requests from their beginning to the end of their answer, streams too.

    `at_once` are worked on, and as many may wait; None is no limit.
    """

    def __init__(self, at_once: int | None = None) -> None:
        self.at_once = at_once
        self.in_work = 0
        self._seconds = 0.0

    def waiting_beyond(self) -> int:
        """How many would wait with one more, where that is too many; else 0."""
        if self.at_once is None:
            return 0
        waiting = self.in_work + 1 - self.at_once
        return waiting if waiting > self.at_once else 0

    def begin(self) -> None:
        self.in_work += 1

    def end(self, seconds: float) -> None:
        self.in_work -= 1
        self._seconds += (seconds - self._seconds) * (_WEIGHT if self._seconds else 1.0)

    def retry_after(self) -> int:
        """Seconds: as long as requests took lately, which is how long a full queue takes."""
        least, most = _SECONDS
        return max(least, min(most, math.ceil(self._seconds)))

    def words(self, waiting: int) -> str:
        """KAITO's, which clients may know."""
        return (
            f"Too many requests: waiting queue ({waiting}) exceeds max-num-seqs ({self.at_once})."
        )


def guarded(kind: str, method: str, path: str) -> bool:
    """Whether the request is one of those that are counted and limited."""
    asks = kind == "websocket" or method == "POST"
    return asks and bool(ROUTES.fullmatch(path)) and not path.endswith("/cancel")
