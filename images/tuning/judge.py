"""The config, judged by the classes that will take it: before there is anything to train."""

from __future__ import annotations

import os
from pathlib import Path

from tuning import arguments
from tuning.arguments import Machine
from tuning.config import ConfigError, TrainingConfig


def judge(config: TrainingConfig, here: Machine, target_modules: tuple[str, ...]) -> None:
    """ConfigError, with the field's name."""
    arguments.sft_config(config, here, Path(os.devnull))
    if config.method != "full":
        arguments.lora_config(config, target_modules, known=True)
    if arguments.quantization_config(config, here) is not None:
        _quantise(here)


def _quantise(here: Machine) -> None:
    """Try it: whether bitsandbytes has code for this device shows when it runs."""
    if here.presumed:
        return
    import torch
    from bitsandbytes.functional import quantize_4bit

    device = "cuda" if here.gpu else "cpu"
    try:
        quantize_4bit(torch.zeros(64, 64, device=device), quant_type="nf4")
    except (RuntimeError, NotImplementedError, OSError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"training_config.QuantizationConfig.load_in_4bit: bitsandbytes cannot quantise on this"
            f" {here.name} ({said}); use the method lora"
        ) from error
