"""What KAITO v0.12's catalogue tells vLLM, against ours: the same, but for what is mended.

Sizes are in test_presets_catalog.py.
"""

from __future__ import annotations

import pytest

from presets import catalog
from presets.model import Model

# Hugging Face id | licence | quantisation | tool parser | reasoning parser | template, without
# tool-chat- and .jinja | notes: HYB no KV offload, DG DeepGEMM, TK CUDA toolkit, T transformers,
# F tuning, other: flags.
UPSTREAM = """
microsoft/phi-4 mit - - - - T F
microsoft/Phi-4-mini-instruct mit - - - phi4-mini F
deepseek-ai/DeepSeek-R1-Distill-Llama-8B mit - deepseek_v3 deepseek_r1 deepseekr1 T tok=deepseek_v32
deepseek-ai/DeepSeek-R1-Distill-Qwen-14B mit - deepseek_v3 deepseek_r1 deepseekr1 T tok=deepseek_v32
microsoft/Phi-3-mini-4k-instruct mit - - - - T F
microsoft/Phi-3-mini-128k-instruct mit - - - - T F
microsoft/Phi-3-medium-4k-instruct mit - - - - T F
microsoft/Phi-3-medium-128k-instruct mit - - - - T F
microsoft/Phi-3.5-mini-instruct mit - - - - T F
Qwen/Qwen2.5-Coder-7B-Instruct apache-2.0 - hermes - hermes T F
Qwen/Qwen2.5-Coder-32B-Instruct apache-2.0 - hermes - hermes T F
openai/gpt-oss-20b apache-2.0 mxfp4 openai openai_gptoss - T
openai/gpt-oss-120b apache-2.0 mxfp4 openai openai_gptoss - T
meta-llama/Llama-3.1-8B-Instruct llama3.1 - llama3_json - llama3.1-json T
meta-llama/Llama-3.3-70B-Instruct llama3.3 - llama3_json - llama3.1-json T
mistralai/Mistral-7B-v0.3 apache-2.0 - mistral - - T F fmt=mistral
mistralai/Mistral-7B-Instruct-v0.3 apache-2.0 - mistral - - T fmt=mistral
mistralai/Ministral-3-3B-Instruct-2512 apache-2.0 fp8 - - - fmt=mistral
mistralai/Ministral-3-8B-Instruct-2512 apache-2.0 fp8 - - - fmt=mistral
mistralai/Ministral-3-14B-Instruct-2512 apache-2.0 fp8 - - - fmt=mistral
google/gemma-3-4b-it gemma - functiongemma - - T
google/gemma-3-27b-it gemma - functiongemma - - T
deepseek-ai/DeepSeek-R1-0528 mit fp8 deepseek_v3 deepseek_r1 deepseekr1 T tok=deepseek_v32
deepseek-ai/DeepSeek-V3-0324 mit fp8 deepseek_v3 deepseek_v3 deepseekv3 T tok=deepseek_v32
mistralai/Mistral-Large-3-675B-Instruct-2512 apache-2.0 float-quantized mistral - - fmt=mistral
nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16 nvidia-nemotron - qwen3_coder nemotron_v3 - HYB
nvidia/Nemotron-Cascade-2-30B-A3B nvidia-open - qwen3_coder nemotron_v3 - HYB
nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16 nvidia-nemotron - qwen3_coder nemotron_v3 - HYB
nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16 nvidia-open - qwen3_coder nemotron_v3 - HYB
nvidia/NVIDIA-Nemotron-Nano-9B-v2 nvidia-open - qwen3_coder nemotron_v3 - HYB
nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16 nvidia-nemotron - qwen3_coder nemotron_v3 - HYB
Qwen/Qwen3-8B-AWQ apache-2.0 awq hermes qwen3 -
google/gemma-4-31B-it apache-2.0 - gemma4 gemma4 gemma4 HYB
google/gemma-4-26B-A4B-it apache-2.0 - gemma4 gemma4 gemma4 HYB
google/gemma-4-E4B-it apache-2.0 - gemma4 gemma4 gemma4 HYB
google/gemma-4-E2B-it apache-2.0 - gemma4 gemma4 gemma4 HYB
mistralai/Mistral-Small-4-119B-2603 apache-2.0 fp8 mistral mistral - TK fmt=mistral
mistralai/Mistral-Small-4-119B-2603-NVFP4 apache-2.0 nvfp4-pack-quantized mistral mistral - fmt=mistral
Qwen/Qwen3.5-2B apache-2.0 - qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
Qwen/Qwen3.5-4B apache-2.0 - qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
Qwen/Qwen3.5-9B apache-2.0 - qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
Qwen/Qwen3.5-122B-A10B-GPTQ-Int4 apache-2.0 gptq qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
Qwen/Qwen3.5-122B-A10B apache-2.0 - qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
Qwen/Qwen3.6-35B-A3B-FP8 apache-2.0 fp8 qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
Qwen/Qwen3.6-35B-A3B apache-2.0 - qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
Qwen/Qwen3.6-27B apache-2.0 - qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
Qwen/Qwen3.5-397B-A17B-GPTQ-Int4 apache-2.0 gptq qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
moonshotai/Kimi-K2.5 modified-mit pack-quantized kimi_k2 kimi_k2 -
moonshotai/Kimi-K2.6 modified-mit pack-quantized kimi_k2 kimi_k2 -
MiniMaxAI/MiniMax-M2.7 other fp8 minimax_m2 minimax_m2_append_think - enable-expert-parallel
mistralai/Mistral-Medium-3.5-128B other fp8 mistral mistral - fmt=mistral
deepseek-ai/DeepSeek-V4-Flash-0731 mit fp8 deepseek_v4 deepseek_v4 - HYB DG tok=deepseek_v4 kv-cache-dtype=fp8
deepseek-ai/DeepSeek-V4-Pro mit fp8 deepseek_v4 deepseek_v4 - HYB DG tok=deepseek_v4 kv-cache-dtype=fp8
google/gemma-4-12B-it apache-2.0 - gemma4 gemma4 gemma4 HYB
zai-org/GLM-5.2-FP8 mit fp8 glm47 glm45 - DG kv-cache-dtype=fp8
moonshotai/Kimi-K2.7-Code modified-mit pack-quantized kimi_k2 kimi_k2 -
nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4 openmdw-1.1 MIXED_PRECISION qwen3_coder nemotron_v3 - HYB
deepseek-ai/DeepSeek-V3.2 mit fp8 deepseek_v32 deepseek_v3 deepseekv3 HYB DG tok=deepseek_v32 kernel-config.enable_flashinfer_autotune=False
ibm-granite/granite-4.1-8b apache-2.0 - granite4 granite -
Qwen/Qwen3.8-27B apache-2.0 - qwen3_coder qwen3 - HYB gdn-prefill-backend=triton
"""  # noqa: E501

# What of a row is otherwise here; docs/estimator.md has the reasons.
MENDED: dict[str, dict[str, object]] = {
    "microsoft/Phi-4-mini-instruct": {"tool_parser": "phi4_mini_json"},
    "mistralai/Ministral-3-3B-Instruct-2512": {"tool_parser": "mistral"},
    "mistralai/Ministral-3-8B-Instruct-2512": {"tool_parser": "mistral"},
    "mistralai/Ministral-3-14B-Instruct-2512": {"tool_parser": "mistral"},
    "google/gemma-3-4b-it": {"tool_parser": ""},
    "google/gemma-3-27b-it": {"tool_parser": ""},
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": {
        "tool_parser": "", "chat_template": "", "tokenizer_mode": "",
    },
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": {
        "tool_parser": "", "chat_template": "", "tokenizer_mode": "",
    },
    # Windows in every second layer: vLLM cannot move such a cache to the host.
    "openai/gpt-oss-20b": {"cpu_kv_offload": False},
    "openai/gpt-oss-120b": {"cpu_kv_offload": False},
}  # fmt: skip


def expected(row: str) -> dict[str, object]:
    """The row in the words of Model, as it is or as it is mended."""
    hf_id, licence, quantization, tools, reasoning, template, *notes = row.split()
    options = dict(note.split("=", 1) for note in notes if "=" in note)
    tokenizer = "mistral" if options.get("fmt") == "mistral" else options.pop("tok", "")
    flags = ("gdn-prefill-backend", "kernel-config.enable_flashinfer_autotune")
    fields: dict[str, object] = {
        "licence": licence,
        "quantization": _told(quantization),
        "tool_parser": _told(tools),
        "reasoning_parser": _told(reasoning),
        "chat_template": f"tool-chat-{template}.jinja" if _told(template) else "",
        "load_format": options.get("fmt", ""),
        "config_format": options.get("fmt", ""),
        "tokenizer_mode": tokenizer,
        "kv_dtype": options.get("kv-cache-dtype", "bfloat16"),
        "vllm_options": {name: options[name] for name in flags if name in options},
        "expert_parallel": "enable-expert-parallel" in notes,
        "cpu_kv_offload": "HYB" not in notes,
        "deep_gemm": "DG" in notes,
        "cuda_toolkit": "TK" in notes,
        "tuning": "F" in notes,
    }
    return fields | MENDED.get(hf_id, {})


def _told(word: str) -> str:
    return "" if word == "-" else word


ROWS = [pytest.param(row, id=row.split()[0]) for row in UPSTREAM.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS)
def test_what_vllm_is_told(row: str) -> None:
    model = catalog.load().get(row.split()[0])
    wanted = expected(row)
    assert {name: getattr(model, name) for name in wanted} == wanted


@pytest.mark.parametrize("row", ROWS)
def test_what_transformers_can_serve(row: str) -> None:
    model: Model = catalog.load().get(row.split()[0])
    assert ("transformers" in model.runtimes) == ("T" in row.split()[6:])


def test_all_are_here_and_only_they_are_mended() -> None:
    names = {row.split()[0] for row in UPSTREAM.strip().splitlines()}
    assert len(names) == 60
    assert set(MENDED) <= names


@pytest.mark.parametrize("name", MENDED)
def test_what_is_mended_differs(name: str) -> None:
    (row,) = (row for row in UPSTREAM.strip().splitlines() if row.startswith(f"{name} "))
    mended = MENDED.pop(name)
    try:
        assert all(expected(row)[field] != value for field, value in mended.items())
    finally:
        MENDED[name] = mended
