"""What an object was told of, and how often: which events are one event. Pure; client-go's rules.

Equal events are counted, for as long as they are remembered. Of more than ten that differ in their
words alone, within ten minutes, the rest is combined into one. And an object that still talks too
much is cut off: 25 at once, then one each five minutes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from kube.clock import Clock

COMBINED = "(combined from similar events): "
"""kubectl's readers know the words from client-go."""

_SIMILAR = 10
_SIMILAR_SECONDS = 600.0
_BURST = 25
_REFILL_SECONDS = 300.0
_REMEMBERED = 4096
_NAME_LENGTH = 253

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class About(NamedTuple):
    """What makes two events the same."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class Told:
    """One Event object. `count` is of this process; what stands on it from before is added when
    that is found."""

    name: str
    message: str
    first: datetime
    last: datetime
    resource_version: str
    count: int = 1
    written: bool = False
    waiting: bool = False


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


@dataclass(slots=True)
class _Similar:
    """The words that a reason was told in, since the last pause."""

    last_at: float
    messages: set[str] = field(default_factory=set)


class _Recent(OrderedDict[K, V], Generic[K, V]):
    """Forgets what was used longest ago."""

    def used(self, key: K, value: V) -> V:
        self[key] = value
        self.move_to_end(key)
        if len(self) > _REMEMBERED:
            self.popitem(last=False)
        return value


class Correlator:
    """Of one component, whose name is part of the events' names."""

    def __init__(self, component: str, clock: Clock) -> None:
        self._component = component
        self._clock = clock
        self._told: _Recent[About, Told] = _Recent()
        self._similar: _Recent[About, _Similar] = _Recent()
        self._buckets: _Recent[About, _Bucket] = _Recent()

    def note(self, about: About, resource_version: str) -> Told:
        """The Event that this belongs to, counted."""
        now = self._clock.now()
        kept = self._combined(about)
        told = self._told.get(kept)
        if told is not None:
            told.count += 1
            told.last = now
            told.message = self._words(about, kept)
            return self._told.used(kept, told)
        told = Told(self._name(kept), self._words(about, kept), now, now, resource_version)
        return self._told.used(kept, told)

    def may_speak(self, about: About) -> bool:
        """Take a token of the object's bucket."""
        at = self._clock.monotonic()
        who = about._replace(type="", reason="", message="")
        bucket = self._buckets.used(who, self._buckets.get(who) or _Bucket(_BURST, at))
        bucket.tokens = min(_BURST, bucket.tokens + (at - bucket.filled_at) / _REFILL_SECONDS)
        bucket.filled_at = at
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _combined(self, about: About) -> About:
        """Without its words, where there were too many others."""
        at = self._clock.monotonic()
        alike = about._replace(message="")
        similar = self._similar.get(alike)
        if similar is None or at - similar.last_at > _SIMILAR_SECONDS:
            similar = _Similar(at)
        similar.last_at = at
        self._similar.used(alike, similar)
        if about.message in similar.messages or len(similar.messages) < _SIMILAR:
            similar.messages.add(about.message)
            return about
        return alike

    @staticmethod
    def _words(about: About, kept: About) -> str:
        return about.message if kept.message else COMBINED + about.message

    def _name(self, about: About) -> str:
        """Always the same for the same event: after a restart it is found again, and two replicas
        make one."""
        digest = hashlib.sha256("\0".join((self._component, *about)).encode()).hexdigest()
        suffix = f".{digest[:16]}"
        return about.name[: _NAME_LENGTH - len(suffix)].rstrip(".-") + suffix
