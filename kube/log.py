"""Logs as JSON lines with the keys that Karpenter's have: level, time, logger, message, and,
inside a reconcile, controller, object and reconcileID.

One key is ours: originReconcileID, of the round in another controller that asked for the object.
So `grep ID` over the logs of both finds the whole way (kube.origin).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from kube.redaction import redacted

RECONCILE_ID = "reconcileID"
ORIGIN = "originReconcileID"
TRACE_ID = "traceID"

_FIELDS = (
    "controller",
    "object",
    RECONCILE_ID,
    ORIGIN,
    "error",
    "nodeclaim",
    "reason",
    "provider_id",
    "instance_type",
    "zone",
    "capacity_type",
    "node",
    "agentpool",
    "method",
    "result",
    "seconds",
)
"""What a line may add by `extra`; written with hyphens, as Karpenter has them."""
QUIET = (
    "aiohttp.access",
    "asyncio",
    "azure",
    "boto3",
    "botocore",
    "google",
    "kubernetes",
    "msal",
    "requests",
    "urllib3",
)
"""Libraries that speak of each request, some with its headers and what signs it. They warn, and
say nothing else, also where everything else is at debug."""

_LOGGER = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
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
        line |= {
            name.replace("_", "-"): getattr(record, name)
            for name in _FIELDS
            if hasattr(record, name)
        }
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return redacted(json.dumps(line, default=str, ensure_ascii=False))


def fields() -> Mapping[str, str]:
    """What each line that is logged here and now carries."""
    return _context.get()


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
    for chatty in QUIET:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def set_level(level: str, part: str = "") -> None:
    """From now on, for all or for the logger `part` and what is below it; ValueError for what is
    no level, and for parts whose words are nobody's business. `notset` takes a part's own off."""
    known = {"debug", "info", "warning", "error", *(("notset",) if part else ())}
    if level.lower() not in known:
        raise ValueError(f"level must be one of {', '.join(sorted(known))}, not {level!r}")
    if part and not _LOGGER.fullmatch(part):
        raise ValueError(f"{part!r} is no logger's name")
    if is_quiet(part):
        raise ValueError(f"{part} may tell credentials; its level cannot be changed")
    logging.getLogger(part or None).setLevel(level.upper())


def is_quiet(part: str) -> bool:
    """Whether the logger is one of those that are told to be."""
    return any(part == name or part.startswith(f"{name}.") for name in QUIET)


def summary(error: BaseException) -> str:
    """One line for an error, and for each error in a group: 'Kind: text; Kind: text'."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(summary(part) for part in error.exceptions)
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
