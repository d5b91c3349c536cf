"""A repository as a Model: the numbers of upstream's generator, and where they are mended."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from presets import huggingface
from presets.huggingface import File, UnsupportedModelError
from presets.model import GIB, Model
from presets.quirks import quirks

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


def gib(path: str, size: float) -> File:
    return File(path, int(size * GIB))


def read(config: dict[str, Any], *files: File, hf_id: str = "org/Some-8B") -> Model:
    return huggingface.model(
        hf_id, config, files or (gib("model.safetensors", 15),), revision="abc"
    )


# Upstream's generator: id, config, file, then GiB, disk, bytes per token, reasoning, tools.
@pytest.mark.parametrize(
    ("hf_id", "config", "size", "disk", "per_token", "parsers"),
    [
        pytest.param(
            "microsoft/Phi-4-mini-instruct",
            {"architectures": ["Phi3ForCausalLM"], "hidden_size": 3072, "num_hidden_layers": 32,
             "num_attention_heads": 24, "num_key_value_heads": 8},
            7.15, 87, 131072, ("", "phi4_mini_json"), id="phi-4-mini",
        ),
        pytest.param(
            "tiiuae/falcon-7b-instruct",
            {"architectures": ["FalconForCausalLM"], "hidden_size": 4544, "num_hidden_layers": 32,
             "num_attention_heads": 71, "multi_query": True},
            13.44, 93, 8192, ("", ""), id="falcon: multi query",
        ),
        pytest.param(
            "Qwen/Qwen3-Coder-30B-A3B-Instruct",
            {"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 2048,
             "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
             "head_dim": 128, "num_experts": 128},
            56.87, 136, 98304, ("qwen3", "qwen3_xml"), id="qwen3 coder",
        ),
        pytest.param(
            "Qwen/Qwen3-8B",
            {"architectures": ["Qwen3ForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 36,
             "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128},
            15.26, 95, 147456, ("qwen3", "hermes"), id="qwen3",
        ),
        pytest.param(
            "deepseek-ai/DeepSeek-V3.1",
            {"architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 7168,
             "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
             "kv_lora_rank": 512, "qk_rope_head_dim": 64, "n_routed_experts": 256,
             "quantization_config": {"quant_method": "fp8"}},
            641.30, 721, 70272, ("deepseek_v3", "deepseek_v31"), id="deepseek: latent",
        ),
        pytest.param(
            "deepseek-ai/DeepSeek-V3",
            {"architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 7168,
             "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
             "kv_lora_rank": 512, "qk_rope_head_dim": 64, "n_routed_experts": 256,
             "quantization_config": {"quant_method": "fp8"}},
            641.30, 721, 70272, ("deepseek_v3", "deepseek_v3"), id="deepseek: the first of them",
        ),
        pytest.param(
            "nvidia/Nemotron-Orchestrator-8B",
            {"architectures": ["Qwen3ForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 36,
             "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
             "torch_dtype": "float32"},
            30.51, 110, 147456, ("qwen3", "hermes"), id="stored in four bytes",
        ),
        pytest.param(
            "Qwen/Qwen3-8B-AWQ",
            {"architectures": ["Qwen3ForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 36,
             "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
             "quantization_config": {"quant_method": "awq", "bits": 4}},
            5.68, 85, 147456, ("qwen3", "hermes"), id="four bits",
        ),
    ],
)  # fmt: skip
def test_upstreams_generator(
    hf_id: str,
    config: dict[str, Any],
    size: float,
    disk: int,
    per_token: int,
    parsers: tuple[str, str],
) -> None:
    model = read(config, gib("model.safetensors", size), hf_id=hf_id)
    assert model.upstream.weights == f"{size:.2f}Gi"
    assert model.disk_gib == disk
    assert model.upstream_kv_bytes_per_token == per_token
    assert (model.reasoning_parser, model.tool_parser) == parsers
    assert model.kv_bytes_per_token == per_token


def test_identity_and_defaults() -> None:
    model = read(LLAMA)
    assert (model.name, model.hf_id, model.revision) == ("some-8b", "org/Some-8B", "abc")
    assert model.head_dim == 128
    assert model.max_model_len == 131072
    assert model.vocab_size == 128256
    assert not model.moe
    assert not model.trust_remote_code


@pytest.mark.parametrize(
    ("files", "loaded", "upstream"),
    [
        pytest.param(
            [gib("model-1.safetensors", 6), gib("model-2.safetensors", 6), gib("x.bin", 12)],
            12, "12.00Gi", id="safetensors before pickles",
        ),
        pytest.param([gib("pytorch_model.bin", 5)], 5, "5.00Gi", id="pickles alone"),
        pytest.param(
            [gib("model.safetensors", 13), gib("original/model.safetensors", 13)],
            13, "26.00Gi", id="twice in the repository",
        ),
        pytest.param(
            [gib("weights/model.safetensors", 7)], 7, "7.00Gi", id="only in a folder"
        ),
    ],
)  # fmt: skip
def test_weights_that_load(files: list[File], loaded: float, upstream: str) -> None:
    model = read(LLAMA, *files)
    assert model.weights_bytes == loaded * GIB
    assert model.upstream.weights == upstream


def test_mistrals_own_files_and_format() -> None:
    params = {"dim": 4096, "n_layers": 34, "n_heads": 32, "n_kv_heads": 8, "head_dim": 128}
    model = read(
        params,
        gib("consolidated.safetensors", 9.7),
        gib("model-1.safetensors", 9.7),
        hf_id="mistralai/Ministral-3-8B-Instruct-2512",
    )
    assert model.weights_bytes == int(9.7 * GIB)
    assert model.upstream_kv_bytes_per_token == 139264
    formats = (model.load_format, model.config_format, model.tokenizer_mode)
    assert formats == ("mistral", "mistral", "mistral")
    assert (model.reasoning_parser, model.tool_parser) == ("", "mistral")
    assert "transformers" in model.runtimes
    alone = read(params, gib("consolidated.safetensors", 9.7))
    assert (alone.load_format, alone.runtimes) == ("mistral", ("vllm",))


def test_single_precision_is_loaded_in_half_the_bytes() -> None:
    model = read({**LLAMA, "torch_dtype": "float32"}, gib("model.safetensors", 30.5))
    assert model.weights_bytes == int(15.25 * GIB)
    assert model.upstream.weights == "30.50Gi"
    assert model.dtype == "bfloat16"


def test_half_precision_stays() -> None:
    assert read({**LLAMA, "dtype": "float16", "torch_dtype": None}).dtype == "float16"


def test_the_language_part_of_a_model_that_sees() -> None:
    config = {"architectures": ["Qwen3_5ForConditionalGeneration"], "text_config": LLAMA}
    model = read(config)
    assert (model.architecture, model.layers) == ("Qwen3_5ForConditionalGeneration", 32)


@pytest.mark.parametrize(
    ("extra", "counts"),
    [
        pytest.param({}, (None, 0, 0), id="all layers"),
        pytest.param(
            {"layer_types": ["sliding_attention"] * 24 + ["full_attention"] * 8,
             "sliding_window": 1024},
            (8, 24, 1024), id="named layers",
        ),
        pytest.param(
            {"layer_types": ["linear_attention"] * 24 + ["full_attention"] * 8},
            (8, 0, 0), id="linear attention",
        ),
        pytest.param({"layer_types": ["full_attention"] * 32}, (None, 0, 0), id="all named full"),
        pytest.param(
            {"sliding_window_pattern": 6, "sliding_window": 512}, (5, 27, 512), id="every sixth"
        ),
        pytest.param({"hybrid_override_pattern": "M-M*" * 8}, (8, 0, 0), id="nemotron"),
        pytest.param({"sliding_window": 4096}, (None, 0, 0), id="window that is not applied"),
        pytest.param(
            {"layer_types": ["sliding_attention"] * 32}, (None, 0, 0), id="no full layer at all"
        ),
    ],
)  # fmt: skip
def test_layers_that_keep_every_token(
    extra: dict[str, Any], counts: tuple[int | None, int, int]
) -> None:
    model = read({**LLAMA, **extra})
    assert (model.attention_layers, model.sliding_layers, model.sliding_window) == counts
    kept = 32 if counts[0] is None else counts[0]
    assert model.kv_bytes_per_token == 4096 * kept
    assert model.upstream_kv_bytes_per_token == 4096 * 32


@pytest.mark.parametrize(
    ("quantization", "name"),
    [
        pytest.param({"quant_method": "awq", "bits": 4}, "awq", id="method"),
        pytest.param(
            {"quant_method": "compressed-tensors", "format": "pack-quantized"},
            "pack-quantized", id="format of compressed tensors",
        ),
        pytest.param({"quant_algo": "NVFP4"}, "NVFP4", id="NVIDIA's name"),
    ],
)  # fmt: skip
def test_quantisation(quantization: dict[str, Any], name: str) -> None:
    assert read({**LLAMA, "quantization_config": quantization}).quantization == name


@pytest.mark.parametrize(
    ("config", "files", "complaint"),
    [
        pytest.param(LLAMA, [gib("readme.md", 1)], "no weight files", id="no weights"),
        pytest.param({}, [gib("m.safetensors", 1)], "number of layers", id="no numbers"),
    ],
)
def test_what_cannot_be_placed(config: dict[str, Any], files: list[File], complaint: str) -> None:
    with pytest.raises(UnsupportedModelError, match=complaint):
        read(config, *files)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [pytest.param("{", "is not JSON", id="broken"), pytest.param("[]", "not an obj", id="a list")],
)
def test_a_config_that_is_none(text: str, complaint: str) -> None:
    with pytest.raises(UnsupportedModelError, match=complaint):
        huggingface.parse_config(text)


def test_pythons_numbers_in_json_are_null() -> None:
    assert huggingface.parse_config('{"a": NaN, "b": Infinity}') == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("name", "architecture", "expected"),
    [
        pytest.param(
            "deepseek-r1-distill-llama-8b", "LlamaForCausalLM",
            ("deepseek_r1", "", "", ""), id="distilled: pupil's tokenizer and template",
        ),
        pytest.param(
            "deepseek-r1-0528", "DeepseekV3ForCausalLM",
            ("deepseek_r1", "deepseek_v3", "deepseek_v32", "tool-chat-deepseekr1.jinja"),
            id="the teacher",
        ),
        pytest.param(
            "qwen3.6-27b", "Qwen3_5ForConditionalGeneration",
            ("qwen3", "qwen3_coder", "", ""), id="longest prefix wins",
        ),
        pytest.param(
            "gemma-3-4b-it", "Gemma3ForConditionalGeneration", ("", "", "", ""),
            id="gemma 3 calls no functions",
        ),
        pytest.param(
            "somebodys-tune", "Qwen3ForCausalLM", ("qwen3", "hermes", "", ""),
            id="by architecture",
        ),
    ],
)  # fmt: skip
def test_parsers(name: str, architecture: str, expected: tuple[str, str, str, str]) -> None:
    found = quirks(name, architecture)
    parsers = (found.reasoning_parser, found.tool_parser)
    assert (*parsers, found.tokenizer_mode, found.chat_template) == expected


BLOCKS = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}


@pytest.mark.parametrize(
    ("config", "whole"),
    [
        pytest.param({"num_experts": 128, "moe_intermediate_size": 768, **BLOCKS}, True, id="768"),
        pytest.param({"num_experts": 128, "moe_intermediate_size": 2048, **BLOCKS}, False,
                     id="eight slices of two blocks"),
        pytest.param({"num_experts": 128, "moe_intermediate_size": 768}, False, id="no blocks"),
        pytest.param({"moe_intermediate_size": 768, **BLOCKS}, False, id="no experts"),
    ],
)  # fmt: skip
def test_experts_whose_blocks_would_be_cut_are_dealt_out_whole(
    config: dict[str, Any], whole: bool
) -> None:
    assert read({**LLAMA, **config}).expert_parallel is whole


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param({"architectures": ["NobodysForCausalLM"]}, "does not serve", id="unknown"),
        pytest.param({"architectures": ["XverseForCausalLM"]}, "no longer serves", id="removed"),
        pytest.param({"quantization_config": {"quant_method": "bitsandbytes"}},
                     "does not load bitsandbytes", id="format"),
    ],
)  # fmt: skip
def test_what_vllm_does_not_serve_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"org/Some-8B: vLLM .*{words}"):
        read({**LLAMA, **config})


def test_adapters_by_architecture() -> None:
    assert read(LLAMA).lora
    assert not read({**LLAMA, "architectures": ["FalconForCausalLM"]}).lora


@pytest.mark.parametrize(
    ("quantization", "told"),
    [
        pytest.param({"quant_method": "awq", "bits": 4}, "awq", id="AWQ"),
        pytest.param({"quant_method": "gptq", "bits": 8}, "gptq", id="GPTQ"),
        pytest.param({"quant_method": "fp8"}, "fp8", id="FP8"),
        pytest.param({"quant_method": "compressed-tensors", "format": "int-quantized"},
                     "int-quantized", id="INT8"),
        pytest.param({"quant_method": "compressed-tensors", "format": "pack-quantized"},
                     "pack-quantized", id="INT4"),
        pytest.param({"quant_method": "compressed-tensors"}, "compressed-tensors", id="no layout"),
    ],
)  # fmt: skip
def test_quantised_weights_have_the_size_of_their_files(
    quantization: dict[str, Any], told: str
) -> None:
    config = {**LLAMA, "quantization_config": quantization, "torch_dtype": "float32"}
    model = read(config, gib("model.safetensors", 5.5))
    assert (model.quantization, model.weights_bytes) == (told, int(5.5 * GIB))


def test_files_of_training_do_not_load() -> None:
    files = (gib("pytorch_model.bin", 5), gib("optimizer.bin", 10), gib("training_args.bin", 0.1))
    assert read(LLAMA, *files).weights_bytes == 5 * GIB


def test_mistrals_format_in_a_folder_is_not_the_repositorys() -> None:
    files = (gib("model.safetensors", 15), gib("original/consolidated.safetensors", 15))
    assert read(LLAMA, *files).load_format == ""


GGUF = (gib("m-Q4_K_M.gguf", 4), gib("m-Q8_0.gguf", 8))


def test_a_gguf_repository_is_for_llamacpp() -> None:
    model = read(LLAMA, *GGUF)
    assert (model.gguf_file, model.gguf_bytes) == ("m-Q4_K_M.gguf", 4 * GIB)
    assert (model.weights_bytes, model.disk_gib) == (4 * GIB, 84)
    assert (model.quantization, model.runtimes) == ("gguf", ("llamacpp",))


def test_a_gguf_file_beside_other_weights() -> None:
    model = read(LLAMA, gib("model.safetensors", 15), *GGUF)
    assert model.weights_bytes == 15 * GIB
    assert (model.gguf_file, model.runtimes) == ("m-Q4_K_M.gguf", ("vllm", "llamacpp"))
    unclear = read(LLAMA, gib("model.safetensors", 15), gib("a-Q8_0.gguf", 1), gib("b-F16.gguf", 1))
    assert (unclear.gguf_file, unclear.runtimes) == (None, ("vllm",))


def test_the_file_that_is_asked_for() -> None:
    config = {**LLAMA, "architectures": ["NobodysForCausalLM"]}
    files = (gib("model.safetensors", 15), *GGUF)
    model = huggingface.model("org/M", config, files, revision="abc", quant="q8_0")
    assert (model.gguf_file, model.runtimes) == ("m-Q8_0.gguf", ("llamacpp",))
    with pytest.raises(UnsupportedModelError, match=r"org/M has no GGUF file Q2_K"):
        huggingface.model("org/M", config, files, revision="abc", quant="Q2_K")


def test_what_is_as_usual_is_left_out_when_it_is_written_down() -> None:
    written = msgspec.json.encode(read(LLAMA))
    assert b"lora" not in written
    assert b"gguf" not in written
    assert msgspec.json.decode(written, type=Model) == read(LLAMA)
