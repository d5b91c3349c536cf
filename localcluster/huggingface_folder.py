"""Turn a GGUF file into a Hugging Face folder. Runs in an environment with torch, alone.

python huggingface_folder.py model.gguf TARGET
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
)


def main(source: Path, target: Path) -> None:
    """Dequantize the weights to bfloat16, which is what the model was trained in."""
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    AutoTokenizer.from_pretrained(**where).save_pretrained(target)
    whole = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=whole
    )
    model.save_pretrained(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
