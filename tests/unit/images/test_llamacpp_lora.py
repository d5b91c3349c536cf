"""llama.cpp: adapters as PEFT saves them become the GGUF files that it loads."""

from __future__ import annotations

import json
import math
import struct
from array import array
from pathlib import Path
from typing import Any

import pytest
from serving.llamacpp import files, gguf, lora, safetensors
from serving.llamacpp.arguments import UsageError
from serving.llamacpp.gguf import Base
from serving.llamacpp.ggufwriter import Matrix, write

from tests import adapters_data

RANK, HIDDEN, HEADS, KV_HEADS, WIDTH = 2, 6, 3, 1, 4
Q, K = "layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj"
TENSORS = {
    "blk.0.attn_q.weight": (HIDDEN, HEADS * WIDTH),
    "blk.0.attn_k.weight": (HIDDEN, KV_HEADS * WIDTH),
    "blk.0.ffn_down.weight": (8, HIDDEN),
}
CONFIG: dict[str, Any] = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none"}


def base(architecture: str = "gemma3") -> Base:
    return Base(architecture, HEADS, KV_HEADS, TENSORS)


def side(rows: int, columns: int, first: float = 0) -> tuple[list[int], array[float]]:
    return [rows, columns], array("f", (first + number for number in range(rows * columns)))


def pair(module: str, outputs: int, inputs: int = HIDDEN, rank: int = RANK) -> dict[str, Any]:
    name = f"base_model.model.model.{module}"
    return {
        f"{name}.lora_A.weight": side(rank, inputs, 100),
        f"{name}.lora_B.weight": side(outputs, rank),
    }


GOOD = {**pair(Q, HEADS * WIDTH), **pair(K, KV_HEADS * WIDTH)}


def saved(folder: Path, tensors: dict[str, Any] = GOOD, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(adapters_data.safetensors(tensors))
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
    return folder


class Read:
    """A GGUF file of ours, read by offsets alone."""

    def __init__(self, path: Path) -> None:
        found = gguf.base([path])
        assert found is not None
        self.architecture, self.shapes = found.architecture, dict(found.tensors)
        content, at = path.read_bytes(), 0
        sizes = {name: math.prod(shape) * 4 for name, shape in self.shapes.items()}
        start = len(content) - sum(-(-size // 32) * 32 for size in sizes.values())
        assert start % 32 == 0
        self.values: dict[str, list[float]] = {}
        for name, size in sizes.items():
            values = content[start + at : start + at + size]
            self.values[name] = list(array("f", values))
            at += -(-size // 32) * 32
        (self.alpha,) = struct.unpack_from(
            "<f", content, content.index(b"adapter.lora.alpha") + len("adapter.lora.alpha") + 4
        )


def converted(tmp_path: Path, folder: Path, architecture: str = "gemma3") -> Read:
    target = tmp_path / "legal.gguf"
    lora.convert("legal", folder, base(architecture), target)
    assert sorted(path.name for path in tmp_path.glob("*.gguf")) == ["legal.gguf"]
    return Read(target)


def test_matrices_keep_their_values_and_get_other_names(tmp_path: Path) -> None:
    found = converted(tmp_path, saved(tmp_path / "legal"))
    assert (found.architecture, found.alpha) == ("gemma3", 8.0)
    assert found.shapes == {
        "blk.0.attn_k.weight.lora_a": (HIDDEN, RANK),
        "blk.0.attn_k.weight.lora_b": (RANK, KV_HEADS * WIDTH),
        "blk.0.attn_q.weight.lora_a": (HIDDEN, RANK),
        "blk.0.attn_q.weight.lora_b": (RANK, HEADS * WIDTH),
    }
    assert found.values["blk.0.attn_q.weight.lora_a"] == [100.0 + n for n in range(12)]
    assert found.values["blk.0.attn_q.weight.lora_b"] == [float(n) for n in range(24)]


def test_rows_of_q_and_k_move_as_the_models_own_have(tmp_path: Path) -> None:
    """A head's rows are halves that llama.cpp has taking turns: 0 1 2 3 becomes 0 2 1 3."""
    found = converted(tmp_path, saved(tmp_path / "legal"), "llama")
    heads = [[0, 2, 1, 3], [4, 6, 5, 7], [8, 10, 9, 11]]
    rows = [[row * RANK, row * RANK + 1] for head in heads for row in head]
    assert found.values["blk.0.attn_q.weight.lora_b"] == [each for row in rows for each in row]
    assert found.values["blk.0.attn_k.weight.lora_b"] == [0, 1, 4, 5, 2, 3, 6, 7]
    assert found.values["blk.0.attn_q.weight.lora_a"] == [100.0 + n for n in range(12)]


def test_the_heads_own_matrix_is_left_out(tmp_path: Path) -> None:
    """PEFT saves it beside an adapter of the head; a larger one has tokens that the model lacks."""
    head = {"output.weight": (HIDDEN, 5)}
    known = Base("gemma3", HEADS, KV_HEADS, {**TENSORS, **head})
    tensors = pair("lm_head", 5)
    tensors = {name.replace("model.model.", "model."): each for name, each in tensors.items()}
    own = "base_model.model.lm_head.base_layer.weight"
    folder = saved(tmp_path / "legal", {**tensors, own: side(5, HIDDEN)})
    lora.convert("legal", folder, known, tmp_path / "legal.gguf")
    assert set(Read(tmp_path / "legal.gguf").shapes) == {
        "output.weight.lora_a",
        "output.weight.lora_b",
    }
    saved(tmp_path / "legal", {**tensors, own: side(7, HIDDEN)})
    with pytest.raises(UsageError, match=r"changes lm_head\.base_layer otherwise"):
        lora.convert("legal", folder, known, tmp_path / "legal.gguf")


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_order_of_rows_can_be_undone(heads: int) -> None:
    """The inverse is that of transformers' conversion from Meta's weights."""
    rank, rows = 3, 16
    given = array("f", range(rows * rank))
    moved = lora.permuted(given, heads, rank)
    half = rows // heads // 2
    back = array("f")
    for head in range(heads):
        for part in (0, 1):
            for row in range(half):
                at = (head * 2 * half + row * 2 + part) * rank
                back += moved[at : at + rank]
    assert back == given
    assert moved != given


@pytest.mark.parametrize(
    ("config", "rank", "factor"),
    [
        pytest.param({}, 2, 1.0, id="alpha-by-rank"),
        pytest.param({"use_rslora": True}, 4, 2.0, id="rslora"),
        pytest.param({"alpha_pattern": {"self_attn.q_proj": 2}}, 2, 0.25, id="alpha-pattern"),
        pytest.param({"alpha_pattern": {"0.*q_proj": 4, "q_proj": 2}}, 2, 0.5, id="first-matches"),
        pytest.param(
            {"alpha_pattern": {"attn.q_proj": 2}}, 2, 1.0, id="not-in-the-midst-of-a-name"
        ),
        pytest.param({"rank_pattern": {"q_proj": 4}}, 4, 1.0, id="rank-pattern"),
    ],
)
def test_strengths_are_pefts(
    tmp_path: Path, config: dict[str, Any], rank: int, factor: float
) -> None:
    """llama.cpp multiplies with alpha by rank; what PEFT does besides is in B."""
    folder = saved(tmp_path / "legal", pair(Q, HEADS * WIDTH, rank=rank), **config)
    found = converted(tmp_path, folder)
    values = found.values["blk.0.attn_q.weight.lora_b"]
    assert values == [number * factor for number in range(HEADS * WIDTH * rank)]
    assert found.alpha == 8.0


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("model.layers.11.mlp.gate_up_proj", "blk.11.ffn_up"),
        ("model.language_model.layers.3.self_attn.o_proj", "blk.3.attn_output"),
        ("language_model.model.layers.3.self_attn.v_proj", "blk.3.attn_v"),
        ("model.layers.0.self_attn.qkv_proj", "blk.0.attn_qkv"),
        ("lm_head", "output"),
        ("model.embed_tokens", None),
        ("model.layers.0.mlp.experts.3.up_proj", None),
        ("model.vision_tower.layers.0.self_attn.q_proj", None),
    ],
)
def test_names(module: str, name: str | None) -> None:
    assert lora.target_of(module) == name


@pytest.mark.parametrize(
    ("config", "tensors", "complaint"),
    [
        ({"use_dora": True}, {}, "has DoRA, which llama.cpp cannot serve"),
        ({"modules_to_save": ["lm_head"]}, {}, r"`modules_to_save` \(lm_head\), which"),
        ({"bias": "all"}, {}, "has a bias, which"),
        ({"init_lora_weights": "pissa_niter_4"}, {}, "`init_lora_weights: pissa_niter_4`"),
        ({"peft_type": "IA3"}, {}, "of the kind IA3: llama.cpp takes LORA alone"),
        ({"lora_alpha": 0}, {}, "a lora_alpha of 0"),
        ({"lora_alpha": "much"}, {}, r"no usable adapter_config\.json"),
        (
            {},
            {"base_model.model.model.embed_tokens.lora_embedding_A": side(2, 6)},
            "changes model.embed_tokens otherwise than by a LoRA",
        ),
        (
            {},
            {f"base_model.model.model.{Q}.lora_magnitude_vector": side(1, 12)},
            f"changes model.{Q} otherwise",
        ),
        ({}, pair("layers.0.mlp.router", 4), "changes model.layers.0.mlp.router, which the GGUF"),
        ({}, pair("layers.1.self_attn.q_proj", 12), "changes model.layers.1.self_attn.q_proj"),
        ({}, pair(Q, 16), "of another model: its model.* is 16 x 6, and the model's 12 x 6"),
        ({}, {f"base_model.model.model.{K}.lora_A.weight": side(2, 6)}, "lacks a matrix A or B of"),
    ],
)
def test_what_llamacpp_cannot_do_is_refused(
    tmp_path: Path, config: dict[str, Any], tensors: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        converted(tmp_path, saved(tmp_path / "legal", tensors or GOOD, **config))
    assert str(caught.value).startswith("the adapter legal ")
    assert not list(tmp_path.glob("*.gguf"))


def test_other_architectures_and_files_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "legal")
    with pytest.raises(UsageError, match="models of the architecture falcon: use the vllm"):
        converted(tmp_path, folder, "falcon")
    weights = folder / "adapter_model.safetensors"
    for content in (b"", b"short", struct.pack("<Q", 1 << 40) + b"{}", weights.read_bytes()[:-9]):
        weights.write_bytes(content)
        with pytest.raises(UsageError, match=r"cannot be read: .*safetensors"):
            converted(tmp_path, folder)
    weights.unlink()
    with pytest.raises(UsageError, match=r"has no adapter_model\.safetensors"):
        converted(tmp_path, folder)


VALUES = [0.0, 1.0, -2.5, 0.15625, 384.0]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("F32", struct.pack("<5f", *VALUES)),
        ("F16", struct.pack("<5e", *VALUES)),
        ("BF16", b"".join(struct.pack("<f", value)[2:] for value in VALUES)),
    ],
)
def test_floats_of_each_width_are_exact(tmp_path: Path, kind: str, content: bytes) -> None:
    entry = {"dtype": kind, "shape": [5], "data_offsets": [0, len(content)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "a": entry}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + content)
    assert list(safetensors.read(path)["a"].floats()) == VALUES


def test_a_directory_of_pefts_is_converted_before_the_start(tmp_path: Path) -> None:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    (saved(adapters / "legal") / "kaito-strength").write_text("0.5")
    model = tmp_path / "model.gguf"
    shapes = [Matrix(n, tuple(reversed(s)), zeros(s)) for n, s in TENSORS.items()]
    heads = {"llama.attention.head_count": float(HEADS), "llama.attention.head_count_kv": 1.0}
    write(model, {"general.architecture": "llama", **heads}, shapes)
    (found,) = files.adapters(adapters, {}, model)
    assert (found.name, found.strength) == ("legal", 0.5)
    assert not found.path.is_relative_to(adapters)  # that may be read-only
    assert Read(found.path).values["blk.0.attn_k.weight.lora_b"] == [0, 1, 4, 5, 2, 3, 6, 7]


def zeros(shape: tuple[int, ...]) -> Any:
    return lambda: array("f", bytes(4 * math.prod(shape)))
