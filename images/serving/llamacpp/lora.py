"""A LoRA adapter as PEFT saves it, made into the GGUF file that llama.cpp loads.

What llama.cpp's convert_lora_to_gguf.py does, without its libraries: the matrices keep their
values and get other names; where the model's own rows were moved, the adapter's move with them.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serving.llamacpp import peft, safetensors
from serving.llamacpp.arguments import UsageError
from serving.llamacpp.gguf import Base
from serving.llamacpp.ggufwriter import Matrix, write
from serving.llamacpp.safetensors import FormatError, Tensor

PERMUTED = frozenset({"granite", "llama", "mistral3"})
"""Architectures whose rows of q and k lie in the GGUF as llama.cpp's rotary embedding wants them:
those with LlamaModel.permute in its conversion."""
AS_THEY_ARE = frozenset(
    {"gemma", "gemma2", "gemma3", "olmo2", "phi3", "qwen2", "qwen2moe", "qwen3", "qwen3moe"}
)
"""Architectures whose matrices are converted as they are."""
_MODULES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",
}
"""Modules of transformers, and gguf's names of MODEL_TENSOR."""
_BASE = ".base_layer.weight"
_LAYER = re.compile(r"(?:model\.|language_model\.)*layers\.(\d+)\.(.+)")
_HEAD = re.compile(r"(?:model\.|language_model\.)*lm_head")


@dataclass(frozen=True, slots=True)
class _Pair:
    module: str
    a: Tensor
    b: Tensor

    @property
    def rank(self) -> int:
        return self.a.shape[0]


def convert(name: str, folder: Path, base: Base, target: Path) -> None:
    """Write the adapter in `folder` to `target`, for the model `base`.

    UsageError in one sentence where llama.cpp could not serve it, or it is of another model.
    """
    if base.architecture not in PERMUTED | AS_THEY_ARE:
        raise UsageError(
            f"the adapter {name} cannot be converted for models of the architecture"
            f" {base.architecture or 'that is unknown'}: use the vllm runtime"
        )
    scaling = peft.scaling(name, folder)
    weights = folder / peft.WEIGHTS
    if not weights.is_file():
        raise UsageError(f"the adapter {name} has no {peft.WEIGHTS}: save it with PEFT's default")
    try:
        tensors = safetensors.read(weights)
        pairs = _pairs(name, _trained(tensors, base))
        matrices = [each for pair in pairs for each in _matrices(name, pair, base, scaling)]
        metadata: dict[str, str | float] = {
            "general.type": "adapter",
            "general.architecture": base.architecture,
            "general.name": name,
            "adapter.type": "lora",
            "adapter.lora.alpha": scaling.alpha,
        }
        write(target, metadata, matrices)
    except FormatError as error:
        raise UsageError(f"the adapter {name} cannot be read: {error}") from error


def target_of(module: str) -> str | None:
    """The matrix's name in GGUF, without `.weight`; None for a module that has none."""
    if _HEAD.fullmatch(module):
        return "output"
    found = _LAYER.fullmatch(module)
    if found is None or found[2] not in _MODULES:
        return None
    return f"blk.{found[1]}.{_MODULES[found[2]]}"


def permuted(rows: array[float], heads: int, rank: int) -> array[float]:
    """Rows of a B matrix in llama.cpp's order: within each head, those of the first and of the
    second half take turns (`LlamaModel.permute` of its conversion)."""
    half = len(rows) // rank // heads // 2
    found = array("f")
    for head in range(heads):
        for row in range(half):
            for part in (0, 1):
                at = ((head * 2 + part) * half + row) * rank
                found += rows[at : at + rank]
    return found


def _trained(tensors: dict[str, Tensor], base: Base) -> dict[str, Tensor]:
    """Without the model's own matrix that PEFT saves beside the adapter of an `lm_head`; one of
    another size, for a larger vocabulary, stays and is refused."""
    found = {}
    for tensor_name, tensor in tensors.items():
        module = tensor_name.removeprefix(peft.PREFIX).removesuffix(_BASE)
        own = base.tensors.get(f"{target_of(module)}.weight")
        if not (tensor_name.endswith(_BASE) and own == tuple(reversed(tensor.shape))):
            found[tensor_name] = tensor
    return found


def _pairs(name: str, tensors: dict[str, Tensor]) -> list[_Pair]:
    sides: dict[str, dict[str, Tensor]] = {}
    for tensor_name, tensor in tensors.items():
        module, side = peft.parts(name, tensor_name)
        sides.setdefault(module, {})[side] = tensor
    if not sides:
        raise UsageError(f"the adapter {name} has no tensors in {peft.WEIGHTS}")
    for module, found in sides.items():
        if len(found) != 2 or any(len(each.shape) != 2 for each in found.values()):
            raise UsageError(f"the adapter {name} lacks a matrix A or B of {module}")
    return [_Pair(module, found["A"], found["B"]) for module, found in sorted(sides.items())]


def _matrices(name: str, pair: _Pair, base: Base, scaling: peft.Scaling) -> Iterator[Matrix]:
    target = target_of(pair.module)
    shape = base.tensors.get(f"{target}.weight")
    if target is None or shape is None:
        raise UsageError(
            f"the adapter {name} changes {pair.module}, which the GGUF model has no matrix for:"
            " train it without that module, or use the vllm runtime"
        )
    if shape != (pair.a.shape[1], pair.b.shape[0]) or pair.b.shape[1] != pair.rank:
        raise UsageError(
            f"the adapter {name} is of another model: its {pair.module} is"
            f" {pair.b.shape[0]} x {pair.a.shape[1]}, and the model's {shape[1]} x {shape[0]}"
        )
    # llama.cpp knows one alpha, and divides it by the rank: what PEFT does otherwise goes into B.
    factor = scaling.of(pair.module, pair.rank) * pair.rank / scaling.alpha
    heads = _heads(target, base) if base.architecture in PERMUTED else 0
    yield Matrix(f"{target}.weight.lora_a", pair.a.shape, pair.a.floats)
    yield Matrix(f"{target}.weight.lora_b", pair.b.shape, partial(_b, pair, factor, heads))


def _b(pair: _Pair, factor: float, heads: int) -> array[float]:
    found = pair.b.floats()
    if factor != 1:
        found = array("f", (value * factor for value in found))
    return permuted(found, heads, pair.rank) if heads else found


def _heads(target: str, base: Base) -> int:
    """Of a matrix whose rows have moved, else 0."""
    of = {"attn_q": base.heads, "attn_k": base.kv_heads}
    return of.get(target.rpartition(".")[2], 0)
