"""What a container says of itself while it works: lines of its log that the controller reads.

Standard library only: each image carries a copy of this file. A line is a marker and a JSON
object; what comes before the marker (time, level) is passed over, and so are keys that are not
known here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final, Protocol, TypeVar

EXIT_BAD_DATA: Final = 65
"""Exit codes are those of sysexits.h: the data cannot be trained with."""
EXIT_BAD_MODEL: Final = 66
"""The weights cannot be loaded, or cannot be tuned."""
EXIT_UNREACHABLE: Final = 69
"""A server that has the data does not answer; another try may find it better."""
EXIT_OUT_OF_MEMORY: Final = 71
EXIT_INTERRUPTED: Final = 75
"""Asked to end in the midst of the work: a checkpoint is kept, another pod goes on from it."""
EXIT_PUSH_REFUSED: Final = 77
EXIT_BAD_CONFIG: Final = 78

DOWNLOAD: Final = "download"
LOAD: Final = "load"
COMPILE: Final = "compile"
WARM: Final = "warm"
READY: Final = "ready"
CHECK: Final = "check"
PREPARE: Final = "prepare"
TRAIN: Final = "train"
EVALUATE: Final = "evaluate"
PUSH: Final = "push"
_INT32: Final = 2**31 - 1
STAGES = (DOWNLOAD, LOAD, COMPILE, WARM, READY, CHECK, PREPARE, TRAIN, EVALUATE, PUSH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How far a container has come. `done` of `total` are in `unit`."""

    MARKER: ClassVar[str] = "KAITO_STAGE"

    stage: str
    message: str = ""
    done: float | None = None
    total: float | None = None
    unit: str = ""
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How far a fine-tuning is. Losses are mean cross entropies a token, in nats."""

    MARKER: ClassVar[str] = "KAITO_TUNING"

    step: int
    steps: int
    epoch: float = 0.0
    loss: float | None = None
    eval_loss_before: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    checkpoint_step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a fine-tuning; also the container's termination message."""

    MARKER: ClassVar[str] = "KAITO_TUNING_RESULT"

    steps: int
    seconds: float
    output: str
    """The image by its digest, or the directory."""
    loss: float | None = None
    eval_loss_before: float | None = None
    eval_loss: float | None = None
    resumed_from: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The last of each kind that a pod's log holds."""

    stage: Stage | None = None
    training: Training | None = None
    result: Result | None = None


class _Report(Protocol):
    MARKER: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=_Report)


def line(report: Stage | Training | Result) -> str:
    """One line for the log, without what is not known."""
    said = {key: value for key, value in asdict(report).items() if value not in (None, "")}
    return f"{report.MARKER} {json.dumps(said, separators=(', ', ': '))}"


def parse(kind: type[R], text: str) -> R | None:
    """The report in a line of a log; None where there is none, or not a whole one."""
    _, found, rest = text.partition(f"{kind.MARKER} ")
    if not found:
        return None
    try:
        said = json.loads(rest)
        known = {each.name: str(each.type) for each in fields(kind)}
        return kind(
            **{
                key: value
                for key, value in said.items()
                if key in known and _can_be(value, known[key])
            }
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _can_be(value: object, kind: str) -> bool:
    """Images may be the user's own. What cannot be, or has no place in a status, counts as unsaid;
    but a loss that is NaN is one."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int) and kind != "str":
        return abs(value) <= _INT32
    if isinstance(value, float):
        return kind.startswith("float") and not math.isinf(value)
    return isinstance(value, str) and kind == "str"


def read(lines: Iterable[str]) -> Reports:
    """The last of each kind."""
    stage, training, result = None, None, None
    for text in lines:
        stage = parse(Stage, text) or stage
        training = parse(Training, text) or training
        result = parse(Result, text) or result
    return Reports(stage=stage, training=training, result=result)
