"""GGUF: the file that is meant, and what its head tells."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from presets import gguf
from presets.files import File, UnsupportedModelError
from presets.gguf import Choice


def files(*paths: str) -> list[File]:
    return [File(path, 10 + number) for number, path in enumerate(paths)]


BARTOWSKI = files("M-Q4_K_M.gguf", "M-Q8_0.gguf", "M-IQ3_M.gguf", "README.md", "mmproj-F16.gguf")


@pytest.mark.parametrize(
    ("found", "quant", "path"),
    [
        pytest.param(BARTOWSKI, "", "M-Q4_K_M.gguf", id="the usual one"),
        pytest.param(BARTOWSKI, "q8_0", "M-Q8_0.gguf", id="asked for, in any case"),
        pytest.param(BARTOWSKI, "IQ3_M", "M-IQ3_M.gguf", id="another family"),
        pytest.param(files("model.gguf"), "", "model.gguf", id="the only one"),
        pytest.param(files("m.Q5_0.gguf", "m.Q4_K_M.gguf"), "Q5_0", "m.Q5_0.gguf", id="by a dot"),
        pytest.param(files("m-UD-Q4_K_XL.gguf", "m-Q4_K_M.gguf"), "UD-Q4_K_XL",
                     "m-UD-Q4_K_XL.gguf", id="a word before it"),
        pytest.param(files("Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf",
                           "m-Q4_0.gguf"), "Q8_0", "Q8_0/m-Q8_0-00001-of-00002.gguf", id="parts"),
        pytest.param(files("old/m-Q4_K_M.gguf", "m-Q4_K_M.gguf"), "", "m-Q4_K_M.gguf",
                     id="not the copy in a folder"),
    ],
)  # fmt: skip
def test_the_file_that_is_meant(found: list[File], quant: str, path: str) -> None:
    choice = gguf.choose(found, quant)
    assert choice is not None
    assert choice.path == path


def test_parts_are_counted_together() -> None:
    parts = files("m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf")
    assert gguf.choose(parts) == Choice("m-00001-of-00003.gguf", 10 + 11 + 12)
    assert gguf.parts("m-00001-of-00003.gguf") == tuple(each.path for each in parts)
    assert gguf.parts("m.gguf") == ("m.gguf",)


def test_without_any_there_is_none() -> None:
    assert gguf.choose(files("model.safetensors", "mmproj-F16.gguf")) is None


@pytest.mark.parametrize("quant", ["", "Q6_K"])
def test_what_is_not_clear_is_asked_back(quant: str) -> None:
    with pytest.raises(UnsupportedModelError, match=r"owner/model:QUANT, of Q4_0, Q8_0"):
        gguf.choose(files("m-Q4_0.gguf", "m-Q8_0.gguf"), quant)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return entry(key, 4, struct.pack("<I", value))


def numbers(key: str, *values: int) -> bytes:
    return entry(key, 9, struct.pack(f"<IQ{len(values)}I", 4, len(values), *values))


VOCABULARY = entry(
    "tokenizer.ggml.tokens",
    9,
    struct.pack("<IQ", 8, 2000) + b"".join(text(f"t{n}") for n in range(2000)),
)


def a_head(*entries: bytes, count: int | None = None) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 291, len(entries) if count is None else count)
    return head + b"".join(entries)


LLAMA = [
    entry("general.architecture", 8, text("llama")),
    entry("general.quantized", 7, b"\x01"),
    number("llama.block_count", 16),
    number("llama.context_length", 131072),
    number("llama.embedding_length", 2048),
    number("llama.attention.head_count", 32),
    number("llama.attention.head_count_kv", 8),
    entry("llama.rope.freq_base", 6, struct.pack("<f", 500000.0)),
    VOCABULARY,
]

EXPECTED: dict[str, Any] = {
    "num_hidden_layers": 16,
    "max_position_embeddings": 131072,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 2000,
}


def test_the_head_tells_the_architecture() -> None:
    assert gguf.config(a_head(*LLAMA)) == EXPECTED


@pytest.mark.parametrize("cut", [1, 100, 10_000])
def test_a_head_that_is_cut_off_tells_what_came_before(cut: int) -> None:
    assert gguf.config(a_head(*LLAMA)[:-cut]) == EXPECTED


def test_nothing_much_is_told_by_little() -> None:
    for length in range(4, 60):
        assert "num_hidden_layers" not in gguf.config(a_head(*LLAMA)[:length])


def test_layers_that_keep_no_cache_are_told_apart() -> None:
    mixed = gguf.config(
        a_head(
            entry("general.architecture", 8, text("lfm2")),
            number("lfm2.block_count", 3),
            numbers("lfm2.attention.head_count_kv", 0, 8, 0),
        )
    )
    assert mixed["num_key_value_heads"] == 8
    assert mixed["layer_types"] == ["none", "full_attention", "none"]


def test_another_file_is_no_gguf() -> None:
    with pytest.raises(UnsupportedModelError, match="no GGUF file"):
        gguf.config(b"<html>")


@pytest.mark.parametrize(
    ("config", "tells"),
    [
        pytest.param({"model_type": "llama"}, False, id="only a type, as most have"),
        pytest.param({"num_hidden_layers": 2}, True, id="all"),
        pytest.param({"text_config": {"num_hidden_layers": 2}}, True, id="in the language part"),
    ],
)
def test_whether_config_json_is_enough(config: dict[str, Any], tells: bool) -> None:
    assert gguf.tells_layers(config) is tells
