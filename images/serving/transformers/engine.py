"""The engine as requests see it: nothing until it is loaded, then names, tokens and answers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.transformers.sampling import Event, Limits, Sampling
from serving.transformers.sequence import Sequence as Answer
from serving.transformers.text import Detokenizer

if TYPE_CHECKING:  # their imports take seconds, and /health answers before
    from serving.transformers.adapters import Adapters
    from serving.transformers.loader import Loaded
    from serving.transformers.scheduler import Scheduler


class NotReadyError(Exception):
    """The model is not loaded yet."""


class UnknownModelError(Exception):
    """Nothing is served under that name."""


@dataclass(frozen=True, slots=True)
class Served:
    """One name that requests may ask for."""

    name: str
    root: str
    """The directory of its weights."""
    parent: str | None
    """The model that an adapter belongs to."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One answer that is asked for."""

    prompt: Sequence[int]
    sampling: Sampling
    limits: Limits


class Engine:
    """Used on the event loop alone; what works is on threads of their own."""

    def __init__(self, name: str, root: str) -> None:
        self._base = Served(name, root, None)
        self._adapters: dict[str, tuple[str, Served]] = {}
        self._loaded: Loaded | None = None
        self._weights: Adapters | None = None
        self._scheduler: Scheduler | None = None

    def begin(
        self,
        loaded: Loaded,
        weights: Adapters,
        scheduler: Scheduler,
        adapters: Mapping[str, tuple[str, Path]],
    ) -> None:
        """From now on requests are served. `adapters`: handle and folder by name."""
        self._loaded, self._weights, self._scheduler = loaded, weights, scheduler
        for name, (handle, folder) in adapters.items():
            self._adapters[name] = handle, Served(name, str(folder), self._base.name)

    @property
    def ready(self) -> bool:
        return self._loaded is not None

    @property
    def loaded(self) -> Loaded:
        """NotReadyError before there is a model."""
        if self._loaded is None:
            raise NotReadyError
        return self._loaded

    def models(self) -> list[Served]:
        """The model itself first."""
        return [self._base, *(served for _, (_, served) in sorted(self._adapters.items()))]

    def handle(self, name: str) -> str:
        """The adapter's, empty for the model itself; UnknownModelError for other names."""
        if name in ("", self._base.name):
            return ""
        if name not in self._adapters:
            raise UnknownModelError(name)
        return self._adapters[name][0]

    async def events(
        self, wanted: Sequence[Wanted], model: str
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """What comes of each, with its number, until the caller closes the iterator: then those
        that are not at their end lose their places."""
        loaded, scheduler = self.loaded, self._scheduler
        # Found and submitted in one go: from then on the adapter stays as long as it is needed.
        adapter = self.handle(model)
        assert scheduler is not None  # noqa: S101  # there is one where there is a model
        queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        answers = []
        for number, each in enumerate(wanted):
            emit = functools.partial(_hand_over, loop, queue, number)
            text = Detokenizer(loaded.codec.decode, each.limits.stop)
            answers.append(Answer(each.prompt, each.sampling, each.limits, text, emit, adapter))
        try:
            for answer in answers:
                scheduler.submit(answer)
            while True:
                yield await queue.get()
        finally:
            for answer in answers:
                scheduler.cancel(answer)

    async def add(self, name: str, folder: Path) -> None:
        """Serve an adapter under a name that is free; AdapterError where it is not of the model."""
        weights = self._weights
        if weights is None:
            raise NotReadyError
        handle = await self._between_steps(lambda: weights.load(folder))
        self._adapters[name] = handle, Served(name, str(folder), self._base.name)

    async def remove(self, name: str) -> None:
        """Served no more; answers in work with it come to their end. UnknownModelError."""
        scheduler = self._scheduler
        if name not in self._adapters or scheduler is None:
            raise UnknownModelError(name)
        handle, _ = self._adapters.pop(name)
        await self._between_steps(lambda: scheduler.retire(handle))

    async def _between_steps(self, function: Callable[[], Any]) -> Any:
        if self._scheduler is None:
            raise NotReadyError
        return await asyncio.wrap_future(self._scheduler.call(function))


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    queue: asyncio.Queue[tuple[int, Event]],
    number: int,
    event: Event,
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
        loop.call_soon_threadsafe(queue.put_nowait, (number, event))
