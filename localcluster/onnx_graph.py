"""Export a model of BERT's kind as an ONNX graph in float32. Runs in the environment of the
retrieval image, with the exporter's packages beside it.

python onnx_graph.py FOLDER TARGET
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from transformers import AutoModel

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"
OPSET = 20
"""The first with Gelu, which ONNX Runtime would not recognize in its parts."""
SHAPES = ((1, 2), (1, 5), (3, 17), (8, 64), (2, 256))
"""Texts and tokens for which both must say the same."""
SAME = 1e-5


class Tokens(torch.nn.Module):  # type: ignore[misc]
    """The vectors of the tokens alone, as the graphs of Hugging Face's repositories have them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        found = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )
        return found.last_hidden_state


def main(source: Path, target: Path) -> None:
    """ArithmeticError where the graph says something else than torch."""
    torch.manual_seed(1)
    plain = AutoModel.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
    torch.onnx.export(
        Tokens(plain).eval(),
        tokens(3, 17),
        str(target),
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        opset_version=OPSET,
        dynamic_shapes=({0: "batch", 1: "sequence"},) * len(INPUTS),
        dynamo=True,
        external_data=False,
    )
    model = Tokens(AutoModel.from_pretrained(source, dtype=torch.float32)).eval()
    graph = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    for shape in SHAPES:
        given = tokens(*shape)
        with torch.inference_mode():
            expected = model(*given).numpy()
        fed = {name: each.numpy() for name, each in zip(INPUTS, given, strict=True)}
        (found,) = graph.run([OUTPUT], fed)
        if (apart := float(np.abs(found - expected).max())) > SAME:
            raise ArithmeticError(f"{target} is {apart} from torch with {shape} tokens")


def tokens(texts: int, length: int) -> tuple[Any, Any, Any]:
    """Of chance; all but the first text are shorter, and padded."""
    ids = torch.randint(1000, 20_000, (texts, length))
    mask = torch.ones_like(ids)
    for at in range(1, texts):
        mask[at, max(2, length - 3 * at) :] = 0
    return ids * mask, mask, torch.zeros_like(ids)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
