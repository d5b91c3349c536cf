"""The base model and its tokenizer, from the directory that the weights were brought to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tuning.arguments import Machine
from tuning.config import TrainingConfig
from tuning.failures import ModelError

_SAMPLE, _SAMPLES = 1 << 16, 256
"""Bytes read at so many places of a file of weights, spread over all of it: models that are tuned
from one another may have the same ends, and reading 100 GB for a digest takes minutes."""
_WEIGHTS = ("*.safetensors", "*.bin")


def directory(weights: Path) -> Path:
    """Where config.json is: there, or in the one snapshot below. ModelError otherwise."""
    places = [weights, *sorted(weights.glob("snapshots/*"))]
    found = [place for place in places if (place / "config.json").is_file()]
    if found:
        folder = found[0]
        if any(list(folder.glob(pattern)) for pattern in _WEIGHTS):
            return folder
    if any(list(place.glob("*.gguf")) for place in places):
        raise ModelError(
            f"{weights} holds a GGUF file, which is quantised for inference and cannot be tuned;"
            " use the model's safetensors weights, with config.json and tokenizer"
        )
    missing = "files of weights (*.safetensors)" if found else "config.json"
    raise ModelError(f"{weights} holds no {missing}; it must be a Hugging Face model directory")


def digest(folder: Path, revision: str) -> str:
    """Of what tells one base model from another: revision, samples of the weights, and all that
    lies beside them (config, tokenizer, chat template, code)."""
    whole = hashlib.sha256(revision.encode())
    large = {path for pattern in _WEIGHTS for path in folder.glob(pattern)}
    for path in sorted(each for each in folder.glob("[!.]*") if each.is_file()):
        size = path.stat().st_size
        whole.update(f"\0{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            # A short file is read whole, by samples that follow each other.
            most = min(size // _SAMPLE + 1, _SAMPLES if path in large else 1 << 14)
            for number in range(most):
                file.seek(max(0, size - _SAMPLE) * number // max(1, most - 1))
                whole.update(file.read(_SAMPLE))
    return f"sha256:{whole.hexdigest()}"


def tokenizer(folder: Path, config: TrainingConfig) -> Any:
    """With the user's chat template where there is one, and a token to pad with."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(
            folder,
            trust_remote_code=bool(config.model.get("trust_remote_code", False)),
            local_files_only=True,
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"the tokenizer cannot be loaded: {_first(error)}") from error
    if template := config.model.get("chat_template"):
        found.chat_template = _template(str(template))
    if found.eos_token is None:
        raise ModelError("the tokenizer has no end-of-sequence token: answers would never end")
    if found.pad_token is None:
        found.pad_token = found.eos_token
    return found


def load(
    folder: Path, config: TrainingConfig, machine: Machine, quantization: Any, rank: int
) -> Any:
    """The model on its device. On a CPU in float32: half precision is slower there, and less
    exact. ModelError where transformers refuses it."""
    import torch
    from transformers import AutoModelForCausalLM

    asked = config.model.get("dtype") or "auto"
    dtype = asked if machine.gpu else "float32"
    attention = config.model.get("attn_implementation")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype if dtype == "auto" else getattr(torch, str(dtype)),
            device_map=_device_map(config, machine, rank),
            quantization_config=quantization,
            trust_remote_code=bool(config.model.get("trust_remote_code", False)),
            local_files_only=True,
            **({"attn_implementation": attention} if attention else {}),
        )
    except (OSError, ValueError, KeyError, ImportError, json.JSONDecodeError) as error:
        raise ModelError(f"the model cannot be loaded: {_first(error)}") from error
    model.config.use_cache = False
    _keep_as_quantised(model)
    return model


def knows(folder: Path) -> bool:
    """Whether PEFT has target modules for the architecture."""
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    kind = json.loads((folder / "config.json").read_text()).get("model_type", "")
    return kind in KNOWN


def _device_map(config: TrainingConfig, machine: Machine, rank: int) -> Any:
    """`auto` is the process's own GPU: each has a whole model. Anything else lays one model over
    several GPUs, as the user says."""
    if not machine.gpu:
        return None
    asked = config.model.get("device_map")
    return {"": max(rank, 0)} if asked in (None, "", "auto") else asked


def _keep_as_quantised(model: Any) -> None:
    """On CPUs with AVX512-BF16, bitsandbytes rounds the scales of a 4-bit layer when it is first
    evaluated: a training that goes on from a checkpoint would not be the one that began."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _template(text: str) -> str:
    """A path, or the template itself where it has braces or lines, as in KAITO."""
    if any(character in text for character in "{}\n"):
        return text
    try:
        return Path(text).read_text()
    except OSError as error:
        from tuning.config import ConfigError

        raise ConfigError(
            f"training_config.ModelConfig.chat_template: {text} cannot be read"
            f" ({error.strerror}); give a file in the container, or the template itself"
        ) from error


def _first(error: BaseException) -> str:
    """The first sentence of what can be pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:400]
