"""Logs as JSON lines with the keys that Karpenter's have: level, time, logger, message, and,
inside a reconcile, controller, object and reconcileID."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_FIELDS = ("controller", "object", "reconcileID", "error")
_context: ContextVar[Mapping[str, str]] = ContextVar("log_context", default={})  # noqa: B039


class JsonFormatter(logging.Formatter):
    """One JSON object a record. Extra keys other than those above are left out."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get(),
        }
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


@contextmanager
def context(**fields: str) -> Iterator[None]:
    """Put `fields` on each line that is logged within, by whomever."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def configure(level: str = "info") -> None:
    """Log JSON lines to stderr, from `level` (debug, info, warning, error; any case) up."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def summary(error: BaseException) -> str:
    """One line for an error, and for each error in a group: 'Kind: text; Kind: text'."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(summary(part) for part in error.exceptions)
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
