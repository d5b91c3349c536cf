"""What fits: whole chunks only, by rank, in the model's own tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_ANSWER_PART, _ANSWER_MOST = 8, 2048


@dataclass(frozen=True, slots=True)
class Room:
    """All in tokens."""

    window: int
    """Of prompt and answer together."""
    conversation: int
    """What the caller sends: messages and tools."""
    overhead: int
    """What goes around it: our instructions, the chat template."""
    question: int
    """The part of the conversation that is the question."""
    answer: int | None
    """The limit that the request sets for the answer, if it does."""
    ratio: float
    """The most that passages take of the window besides the question."""

    @property
    def reserved(self) -> int:
        """Kept free for the answer: what the request allows it, else an eighth of the window and
        at most 2,048. A limit takes away no more than itself: one of 100 leaves room for more
        passages, not (as upstream has it) for fewer. Nor does it take the passages' share: many
        clients always ask for as much as the window holds."""
        least = min(_ANSWER_MOST, self.window // _ANSWER_PART)
        if self.answer is None:
            return least
        return min(self.answer, max(least, self._besides - self._share))

    @property
    def for_passages(self) -> int:
        """Never negative."""
        return max(0, min(self._besides - self.reserved, self._share))

    def for_answer(self, passages: int) -> int:
        """What is left beside passages of so many tokens; one at least."""
        return max(1, self._besides - passages)

    @property
    def _besides(self) -> int:
        """For passages and answer together."""
        return self.window - self.conversation - self.overhead

    @property
    def _share(self) -> int:
        return int(self.ratio * (self.window - self.question))

    @property
    def overfull(self) -> bool:
        """The caller's own words are more than the window."""
        return self.conversation > self.window


def select(costs: Sequence[int], room: int) -> tuple[int, ...]:
    """The places, best rank first, of what fits. What is too large is passed over, never cut, and
    a smaller one after it may still fit."""
    chosen: list[int] = []
    for place, cost in enumerate(costs):
        if cost <= room:
            chosen.append(place)
            room -= cost
    return tuple(chosen)


def how_many(room: Room, top_k: int, *, most: int, node_tokens: float | None) -> int:
    """To look for: as upstream where chunks have an approximate size, else `top_k`."""
    if node_tokens:
        top_k = int((room.window - room.conversation) / node_tokens)
    return max(1, min(most, top_k))
