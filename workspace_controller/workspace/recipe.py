"""The training configuration, as far as machine and manifest depend on it. Pure.

Admission and `tuningsize` have refused what is wrong in it (`apis.trainingoptions`); here it is
read. The rest of it is for the trainer, which checks it with its own classes before anything is
downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from apis import container, trainingkeys, trainingoptions
from apis.kaito.v1beta1.workspace import TuningSpec
from kube.objects import ConfigMap
from presets.loading import LoadIn
from presets.model import DTYPE_BYTES
from presets.tuning import DEFAULT_LENGTH, METHODS, Recipe

_BATCH = 8
"""Of transformers' TrainingArguments, where a file says nothing of it."""
_RANK = 8
"""Of PEFT's LoraConfig."""
_STATE_BYTES = {"8bit": 2.0, "adafactor": 0.1, "sgd": 0.0}
"""What optimisers with such words in their names keep of a weight; AdamW keeps two values."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the plan reckons with, and where the trainer writes."""

    recipe: Recipe
    output_dir: str = container.RESULTS_DIR


def wanted(tuning: TuningSpec, config: ConfigMap | None) -> Wanted:
    """The configuration that `tuning.config` names, or the release's own where it names none."""
    method = next((each for each in METHODS if each == tuning.method.lower()), METHODS[0])
    document: object = {trainingoptions.ROOT: trainingkeys.TEMPLATES[method]}
    if tuning.config and config is not None:
        document = _read(config)
    read = trainingoptions.sections(document)
    arguments = read["TrainingArguments"]
    recipe = Recipe(
        method=method,
        rank=int(read["LoraConfig"].get("r", _RANK)),
        batch=int(arguments.get("per_device_train_batch_size", _BATCH)),
        length=int(arguments.get("max_length", DEFAULT_LENGTH)),
        checkpointing=arguments.get("activation_checkpointing") is not False,
        state_bytes=_state_bytes(str(arguments.get("optim", ""))),
        load_in=_load_in(read["QuantizationConfig"]) if method == "qlora" else None,
        dtype=_dtype(read["ModelConfig"], method),
    )
    return Wanted(recipe, trainingoptions.output_dir(document) or container.RESULTS_DIR)


def _read(config: ConfigMap) -> object:
    try:
        return yaml.safe_load(config.data.get(container.TUNING_CONFIG_KEY, ""))
    except (yaml.YAMLError, ValueError):
        return None


def _state_bytes(optimizer: str) -> float | None:
    return next((size for word, size in _STATE_BYTES.items() if word in optimizer), None)


def _load_in(section: Mapping[str, Any]) -> LoadIn:
    return "8bit" if section.get("load_in_8bit") is True else "4bit"


def _dtype(section: Mapping[str, Any], method: str) -> str:
    """Empty for `auto`: as the weights are stored."""
    otherwise = trainingkeys.TEMPLATES["full"]["ModelConfig"]["dtype"] if method == "full" else ""
    given = str(section.get("dtype", otherwise)).removeprefix("torch.")
    return given if given in DTYPE_BYTES else ""
