"""Which models the inference service has, as it says itself, and how much each holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rag.chat.llm import Llm, RefusedError
from rag.errors import LlmError

_LOG = logging.getLogger(__name__)
_FRESH: Final = 60.0
"""Seconds for which a list holds."""
_FAILED: Final = 15.0
"""Seconds after which it is asked for again where it could not be had."""
_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class _List:
    windows: Mapping[str, int | None]
    until: float


class Served:
    """The list of /v1/models, asked for anew from time to time: a model may be exchanged behind
    its address. A failure is no error here: the request then goes as it came."""

    def __init__(self, llm: Llm, clock: Callable[[], float] = time.monotonic) -> None:
        self._llm = llm
        self._clock = clock
        self._list = _List({}, float("-inf"))

    async def default(self) -> str | None:
        """The first of them, which is the base model."""
        return next(iter(await self._windows()), None)

    async def window(self, model: str | None, most: int) -> int:
        """Tokens that the model holds, as far as it is known, and at most `most`."""
        windows = await self._windows()
        said = windows.get(model) if model else next(iter(windows.values()), None)
        return min(most, said) if said else most

    async def _windows(self) -> Mapping[str, int | None]:
        if self._clock() < self._list.until:
            return self._list.windows
        found: Mapping[str, int | None]
        try:
            found = _read(await self._llm.get(self._llm.endpoint.models, timeout=_TIMEOUT))
            holds = _FRESH
        except (LlmError, RefusedError) as error:
            _LOG.warning("the inference service does not list its models: %s", error)
            found, holds = self._list.windows, _FAILED
        self._list = _List(found, self._clock() + holds)
        return found


def _read(document: Any) -> dict[str, int | None]:
    listed = document.get("data") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return {}
    return {
        each["id"]: _window(each)
        for each in listed
        if isinstance(each, dict) and isinstance(each.get("id"), str)
    }


def _window(model: Mapping[str, Any]) -> int | None:
    """As vLLM says it, and our transformers; else as llama.cpp says how much a slot holds."""
    meta = model.get("meta")
    said = model.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return said if isinstance(said, int) and said > 0 else None
