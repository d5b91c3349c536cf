"""A LoRA adapter for tests: written by hand, the same each time, strong enough to be noticed and
small enough for a ConfigMap.

python -m tests.adapters_data MODEL_DIRECTORY ADAPTER_DIRECTORY [SEED]
"""

from __future__ import annotations

import json
import random
import struct
import sys
from array import array
from base64 import b64encode
from pathlib import Path
from typing import Any

_MODULES = ("q_proj", "v_proj")
_SCALE = 4
"""What the adapter is multiplied with."""


def write_adapter(model: Path, folder: Path, *, seed: int = 1, rank: int = 2) -> None:
    """As PEFT saves it: adapter_config.json and adapter_model.safetensors, for the model whose
    config.json is in `model`. Another seed is another adapter."""
    architecture = json.loads((model / "config.json").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(
        safetensors(_weights(architecture, random.Random(seed), rank))
    )
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "bias": "none",
        "r": rank,
        "lora_alpha": _SCALE * rank,
        "target_modules": list(_MODULES),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def config_map(name: str, namespace: str, folder: Path) -> dict[str, Any]:
    """The adapter as a ConfigMap: a volume for a cluster that has no storage class."""
    data = {path.name: b64encode(path.read_bytes()).decode() for path in sorted(folder.iterdir())}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "binaryData": data,
    }


def safetensors(tensors: dict[str, tuple[list[int], array[float]]]) -> bytes:
    """The format: length of the header, the header as JSON, all tensors one after the other."""
    header: dict[str, Any] = {}
    at = 0
    for name, (shape, values) in tensors.items():
        size = len(values) * values.itemsize
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(values.tobytes() for _, values in tensors.values())
    return struct.pack("<Q", len(text)) + text + data


def _weights(
    architecture: dict[str, Any], dice: random.Random, rank: int
) -> dict[str, tuple[list[int], array[float]]]:
    hidden = architecture["hidden_size"]
    heads = architecture["num_attention_heads"]
    width = architecture.get("head_dim") or hidden // heads
    outputs = {
        "q_proj": heads * width,
        "v_proj": architecture.get("num_key_value_heads", heads) * width,
    }
    found: dict[str, tuple[list[int], array[float]]] = {}
    for layer in range(architecture["num_hidden_layers"]):
        for module in _MODULES:
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            found[f"{name}.lora_A.weight"] = [rank, hidden], _values(dice, rank * hidden)
            found[f"{name}.lora_B.weight"] = (
                [outputs[module], rank],
                _values(dice, outputs[module] * rank),
            )
    return found


def _values(dice: random.Random, count: int) -> array[float]:
    return array("f", (dice.uniform(-0.1, 0.1) for _ in range(count)))


if __name__ == "__main__":
    write_adapter(Path(sys.argv[1]), Path(sys.argv[2]), seed=int((sys.argv[3:] or ["1"])[0]))
