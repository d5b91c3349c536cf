"""A program that fails as its argument says, told as the image's programs tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from tuning.config import ConfigError
from tuning.failures import DataError, InterruptedTrainingError, ModelError, told

from oci.errors import PushRefusedError

ERRORS: Mapping[str, Callable[[], BaseException]] = {
    "GPU memory": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "memory": MemoryError,
    "data": lambda: DataError("no rows"),
    "model": lambda: ModelError("no weights"),
    "config": lambda: ConfigError("training_config.LoraConfig.r 0 must be at least 1"),
    "push": lambda: PushRefusedError("denied"),
    "interrupted": lambda: InterruptedTrainingError("interrupted"),
    "unforeseen": lambda: RuntimeError("the words: out of memory"),
}


def main(arguments: Sequence[str], _environment: Mapping[str, str]) -> int:
    options = dict(each.removeprefix("--").split("=", 1) for each in arguments if "=" in each)
    with told(Path(options["termination-log"])):
        raise ERRORS[options["kind"]]()
