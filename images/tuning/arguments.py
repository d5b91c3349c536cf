"""The config's sections as the dataclasses that TRL, PEFT and transformers take.

Nothing that the user has set is replaced. Where one is refused, the field is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuning.config import ConfigError, TrainingConfig

ALL_LINEAR = "all-linear"
"""PEFT's name for every linear layer but the head: what is taken for models it does not know."""
_DATA_DEPENDENT = frozenset({"eva", "corda", "loftq", "lora_ga", "pissa", "olora"})
"""Initialisations that need the model's own weights, or data."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the training runs on."""

    gpu: bool
    presumed: bool = False
    """The container that checks sees no GPU, the one that trains will."""

    @property
    def name(self) -> str:
        return "GPU" if self.gpu else "CPU"


def sft_config(config: TrainingConfig, machine: Machine, checkpoints: Path) -> Any:
    """trl.SFTConfig, with defaults of ours where the user has none. ConfigError names the field.

    On a CPU the arithmetic is float32, where the user asks for nothing else. Each step's loss is
    logged: TRL reads it off the device anyway.
    """
    from trl import SFTConfig

    ours: dict[str, Any] = {
        "report_to": "none",
        "logging_steps": 1,
        "disable_tqdm": True,
        "save_total_limit": 2,
        "save_strategy": "no",
        "activation_checkpointing": True,
    }
    if not machine.gpu:
        ours |= {"use_cpu": True, "bf16": False, "dataloader_pin_memory": False}
    if (multiple := config.collator.get("pad_to_multiple_of")) is not None:
        ours["pad_to_multiple_of"] = multiple
    given = {**ours, **config.arguments, "output_dir": str(checkpoints)}
    if machine.presumed:
        # Whether a GPU can do it is known where there is one.
        absent = {"bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval", "optim"}
        given = {key: value for key, value in given.items() if key not in absent}
        given |= {"use_cpu": True, "bf16": False}
    return _made("TrainingArguments", SFTConfig, given, {"output_dir"})


def lora_config(config: TrainingConfig, target_modules: tuple[str, ...], known: bool) -> Any:
    """peft.LoraConfig. Its target modules are the user's, else the preset's, else PEFT's for this
    architecture where it is `known`, else all linear layers."""
    from peft import LoraConfig

    given = {"task_type": "CAUSAL_LM", **config.lora}
    if given.get("target_modules") is None and given.get("target_parameters") is None:
        given["target_modules"] = list(target_modules) or (None if known else ALL_LINEAR)
    made = _made("LoraConfig", LoraConfig, given, {"task_type"})
    if made.init_lora_weights not in _DATA_DEPENDENT:
        _probe(config.lora)
    return made


def quantization_config(config: TrainingConfig, machine: Machine) -> Any:
    """transformers.BitsAndBytesConfig, None where nothing is quantised. On a CPU the 4-bit
    weights are computed with in float32, as everything is there."""
    given = dict(config.quantization)
    if config.method != "qlora":
        return None
    from transformers import BitsAndBytesConfig

    if not machine.gpu and not machine.presumed:
        given["bnb_4bit_compute_dtype"] = "float32"
    given.pop("quant_method", None)
    return _made("QuantizationConfig", BitsAndBytesConfig, given, set())


def _made(section: str, kind: Callable[..., Any], given: Mapping[str, Any], own: set[str]) -> Any:
    known = inspect.signature(kind).parameters
    open_ended = any(each.kind is each.VAR_KEYWORD for each in known.values())
    for name in given:
        if name not in known and not open_ended:
            raise ConfigError(f"training_config.{section}.{name}: is not known; remove it")
    try:
        return kind(**given)
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(_told(section, kind, given, own, error)) from error


def _told(
    section: str,
    kind: Callable[..., Any],
    given: Mapping[str, Any],
    own: set[str],
    error: Exception,
) -> str:
    """Which field it is: the one that is refused alone as well."""
    always = {key: value for key, value in given.items() if key in own | {"use_cpu", "bf16"}}
    said = " ".join(str(error).split())
    for name, value in given.items():
        try:
            kind(**{**always, name: value})
        except (TypeError, ValueError, ImportError) as alone:
            return f"training_config.{section}.{name}: {' '.join(str(alone).split())}"
    return f"training_config.{section}: {said}"


def _probe(lora: Mapping[str, Any]) -> None:
    """PEFT judges rank, dropout and initialisation when it makes the layers: so one is made."""
    import torch
    from peft import LoraConfig, get_peft_model

    judged = (
        "r",
        "lora_alpha",
        "lora_dropout",
        "use_rslora",
        "use_dora",
        "bias",
        "init_lora_weights",
    )
    for name in judged:
        if name not in lora:
            continue
        layers = torch.nn.Sequential(torch.nn.Linear(4, 4))
        try:
            get_peft_model(layers, LoraConfig(target_modules=["0"], **{name: lora[name]}))
        except (TypeError, ValueError, NotImplementedError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"training_config.LoraConfig.{name}: {said}") from error
