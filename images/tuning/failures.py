"""What a fine-tuning fails with, and the exit code that tells the Job whether to try again."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apis import reports

OUT_OF_MEMORY_REMEDY = (
    "lower training_config.TrainingArguments.per_device_train_batch_size or max_length, "
    "set gradient_checkpointing: true, or take a larger instance type"
)


class ModelError(Exception):
    """The weights cannot be loaded, or cannot be tuned as asked."""


class DataError(Exception):
    """Rows that were read but cannot be trained with."""


class PushError(Exception):
    """The registry does not take the result."""


class InterruptedTrainingError(BaseException):
    """SIGTERM: the work goes on in another pod. No library's `except Exception` may keep it."""


class Failure(Exception):
    """How a program ends: its exit code and one line for users."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code, self.line = code, line


def failure(error: BaseException) -> Failure:
    """The exit code by the kind of error: what nobody foresaw is 1, and may be tried again."""
    from oci.errors import RegistryError
    from tuning.config import ConfigError

    if isinstance(error, Failure):
        return error
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return Failure(reports.EXIT_OUT_OF_MEMORY, f"out of memory: {OUT_OF_MEMORY_REMEDY}")
    codes: tuple[tuple[type[BaseException], int], ...] = (
        (ConfigError, reports.EXIT_BAD_CONFIG),
        (DataError, reports.EXIT_BAD_DATA),
        (ModelError, reports.EXIT_BAD_MODEL),
        (PushError, reports.EXIT_PUSH_REFUSED),
        (RegistryError, reports.EXIT_PUSH_REFUSED),
        (InterruptedTrainingError, reports.EXIT_INTERRUPTED),
    )
    for kind, code in codes:
        if isinstance(error, kind):
            return Failure(code, line)
    return Failure(1, f"{type(error).__name__}: {line}")


@contextmanager
def told(termination_log: Path) -> Iterator[None]:
    """Ends the program with the failure's code, after one line on stderr and in the termination
    log; what nobody foresaw leaves its traceback in the log."""
    try:
        yield
    except (Exception, InterruptedTrainingError) as error:
        found = failure(error)
        if found.code == 1:
            traceback.print_exc()
        print(f"tuning: {found.line}", file=sys.stderr, flush=True)
        terminate(termination_log, found.line)
        raise SystemExit(found.code) from error


def terminate(termination_log: Path, line: str) -> None:
    """Where the kubelet has made the file; there is none outside of a pod."""
    if termination_log.exists():
        termination_log.write_text(line[:4096])


def _is_torch_out_of_memory(error: BaseException) -> bool:
    """Without importing torch: where it was never loaded, it cannot have raised."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)
