"""What PEFT says of a LoRA adapter: which matrices it changes, and how much.

llama.cpp adds `alpha / rank` times the adapter to a matrix and knows no other kind of it; what
changes the model in another way is refused, since its answers would be wrong without a word.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.llamacpp.arguments import UsageError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

PREFIX = "base_model.model."
"""Of all tensors' names."""
_TENSOR = re.compile(rf"{re.escape(PREFIX)}(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "a bias",
    "modules_to_save": "whole modules in `modules_to_save`",
    "trainable_token_indices": "tokens in `trainable_token_indices`",
    "layer_replication": "`layer_replication`",
    "alora_invocation_tokens": "`alora_invocation_tokens`",
    "target_parameters": "`target_parameters`",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "velora_config": "`velora_config`",
    "kasa_config": "`kasa_config`",
    "monteclora_config": "`monteclora_config`",
}
"""Options of PEFT's LoraConfig, by what they are called in a sentence."""
_OTHER_BASE = ("pissa", "olora", "corda", "lora_ga")
"""Values of `init_lora_weights` with which PEFT takes something off the model's own matrices."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What PEFT multiplies the product of A and B with, by module."""

    alpha: float
    alphas: Mapping[str, float]
    """`alpha_pattern`: regular expressions on modules' names."""
    root: bool
    """rsLoRA: divided by the root of the rank."""

    def of(self, module: str, rank: int) -> float:
        """PEFT's `scaling`; its rank is the matrix's own, also where `rank_pattern` has set it."""
        alpha = self.alpha
        for pattern, value in self.alphas.items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                alpha = value
                break
        return alpha / (math.sqrt(rank) if self.root else rank)


def scaling(name: str, folder: Path) -> Scaling:
    """UsageError where llama.cpp cannot do what the adapter asks for."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        _check(name, config)
        alphas = config.get("alpha_pattern") or {}
        if not config.get("lora_alpha", 8):
            raise UsageError(f"the adapter {name} has a lora_alpha of 0: it would change nothing")
        return Scaling(
            float(config.get("lora_alpha", 8)),
            {str(pattern): float(value) for pattern, value in alphas.items()},
            bool(config.get("use_rslora")),
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"the adapter {name} has no usable {CONFIG}: {error}") from error


def parts(name: str, tensor: str) -> tuple[str, str]:
    """The module that a tensor belongs to, and `A` or `B`."""
    found = _TENSOR.fullmatch(tensor)
    if found is None:
        module = re.sub(r"^base_model\.model\.|\.lora_.*$|\.weight$|\.bias$", "", tensor)
        raise UsageError(
            f"the adapter {name} changes {module} otherwise than by a LoRA of its matrix"
            " (an embedding, a bias or a magnitude): llama.cpp cannot, the vllm runtime may"
        )
    return found["module"], found["side"]


def _check(name: str, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UsageError(f"the adapter {name} is of the kind {kind}: llama.cpp takes LORA alone")
    said = [words for key, words in _REFUSED.items() if config.get(key)]
    if config.get("bias", "none") != "none":
        said.append("a bias")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_OTHER_BASE):
        said.append(f"`init_lora_weights: {start}`, which changes the model's own matrices")
    if modules := config.get("modules_to_save"):
        said[said.index(_REFUSED["modules_to_save"])] += f" ({', '.join(map(str, modules))})"
    if said:
        raise UsageError(
            f"the adapter {name} has {' and '.join(said)}, which llama.cpp cannot serve:"
            " train it without, or use the vllm or the transformers runtime"
        )
