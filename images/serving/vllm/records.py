"""vLLM's own log records, read for how far its start has come.

By the module and the function that a record comes from, not by its words. Where a release moves
them, stages are missing and nothing else. vLLM applies our logging config in each of its
processes, so the reader is wherever the model is loaded.
"""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apis import reports
from serving.front import stages

ENV_CONFIG = "VLLM_LOGGING_CONFIG_PATH"
_THEIRS = (ENV_CONFIG, "VLLM_CONFIGURE_LOGGING")

_ORDER = (reports.LOAD, reports.COMPILE, reports.WARM)
_MESSAGES = {
    reports.LOAD: "loading the weights",
    reports.COMPILE: "compiling",
    reports.WARM: "making the KV cache and warming up",
}
_PLAIN = "%(levelname)s %(asctime)s [%(name)s:%(lineno)d] %(message)s"


class Reader(logging.Filter):
    """Lets every record pass, and tells of a stage when its first one comes; never of one that
    is behind."""

    def __init__(self) -> None:
        super().__init__()
        self._reached = -1

    def filter(self, record: logging.LogRecord) -> bool:
        stage = stage_of(record.name, record.funcName or "")
        if stage and _ORDER.index(stage) > self._reached:
            self._reached = _ORDER.index(stage)
            stages.begin(stage, _MESSAGES[stage])
        return True


def stage_of(module: str, function: str) -> str:
    """Where a record belongs; empty for all that belongs nowhere."""
    if module.startswith("vllm.compilation.") and function != "__init__":
        return reports.COMPILE
    if module.startswith("vllm.v1.worker.") and function == "load_model":
        return reports.LOAD
    if module.startswith("vllm.model_executor.model_loader."):
        return reports.LOAD
    if module.startswith(("vllm.v1.core.kv_cache_utils", "vllm.model_executor.warmup.")):
        return reports.WARM
    return ""


def environment(directory: Path, given: Mapping[str, str]) -> dict[str, str]:
    """What makes vLLM log through us: a config in that directory. Empty where the user has a
    config of their own, or it cannot be written: there are no stages then."""
    if any(given.get(name) for name in _THEIRS):
        return {}
    path = directory / "logging.json"
    try:
        path.write_text(json.dumps(config(given)))
    except OSError:
        return {}
    return {ENV_CONFIG: str(path)}


def config(given: Mapping[str, str]) -> dict[str, Any]:
    """For logging.config.dictConfig: vLLM's own handler and level, with our reader in it.

    Nothing in it names a class of vLLM's, which a release may move. uvicorn takes it as well.
    """
    level = given.get("VLLM_LOGGING_LEVEL", "INFO").upper()
    only = {"handlers": ["vllm"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"vllm": {"()": f"{__name__}.formatter"}},
        "filters": {"stages": {"()": f"{__name__}.Reader"}},
        "handlers": {
            "vllm": {
                "class": "logging.StreamHandler",
                "stream": given.get("VLLM_LOGGING_STREAM", "ext://sys.stdout"),
                "formatter": "vllm",
                "filters": ["stages"],
                "level": level,
            }
        },
        "loggers": {"vllm": only, "uvicorn": only},
    }


def formatter() -> logging.Formatter:
    """vLLM's; a plain one where it is not where it was."""
    try:
        from vllm import logger as theirs

        known = dict(theirs.DEFAULT_LOGGING_CONFIG["formatters"]["vllm"])
        found = logging.config.DictConfigurator({}).configure_formatter(known)
    except (ImportError, AttributeError, LookupError, TypeError, ValueError):
        return logging.Formatter(_PLAIN)
    return found if isinstance(found, logging.Formatter) else logging.Formatter(_PLAIN)
