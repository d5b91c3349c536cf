"""What vLLM must be told about a model that is not in the catalogue: parsers and formats.

KAITO's maps, by the last part of the Hugging Face id first, then by architecture. Where a prefix
of KAITO's catches models that it does not mean, it is mended here (docs/estimator.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def _inverted(table: Mapping[str, str]) -> dict[str, str]:
    return {key: value for value, keys in table.items() for key in keys.split()}


_REASONING_BY_PREFIX = _inverted({
    "deepseek_r1": "deepseek-r1 qwq-32b",
    "deepseek_v3": "deepseek-v3",
    "deepseek_v4": "deepseek-v4",
    "ernie45": "ernie-4.5",
    "gemma4": "gemma-4",
    "glm45": "glm-4.5",
    "granite": "granite-3.2",
    "holo2": "holo2",
    "hunyuan_a13b": "hunyuan-a13b",
    "kimi_k2": "kimi-k2",
    "mimo": "mimo",
    "minimax_m2_append_think": "minimax-m2",
    "minimax_m3": "minimax-m3",
    "mistral": "mistral",
    "olmo3": "olmo-3",
    "poolside_v1": "laguna",
    "qwen3": "qwen3",
    "step3": "step3",
})  # fmt: skip

_REASONING_BY_ARCHITECTURE = _inverted({
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "ernie45": "Ernie4_5_MoeForCausalLM Ernie4_5_VLMoeForConditionalGeneration",
    "gemma4": "Gemma4ForConditionalGeneration Gemma4UnifiedForConditionalGeneration",
    "glm45": "Glm4MoeForCausalLM GlmMoeDsaForCausalLM",
    "granite": "GraniteForCausalLM",
    "hunyuan_a13b": "HunYuanMoEV1ForCausalLM",
    "hy_v3": "HYV3ForCausalLM",
    "kimi_k2": "KimiK25ForConditionalGeneration KimiK2ForCausalLM",
    "mimo": "MiMoForCausalLM",
    "minimax_m2_append_think": "MiniMaxM2ForCausalLM",
    "minimax_m3": "MiniMaxM3SparseForCausalLM MiniMaxM3SparseForConditionalGeneration",
    "mistral": "Mistral3ForConditionalGeneration MistralForCausalLM",
    "nemotron_v3": "NemotronForCausalLM NemotronHForCausalLM NemotronH_Nano_VL_V2",
    "olmo3": "OlmoForCausalLM",
    "openai_gptoss": "GptOssForCausalLM",
    "poolside_v1": "LagunaForCausalLM",
    "qwen3": "Qwen3ForCausalLM Qwen3MoeForCausalLM Qwen3_5ForConditionalGeneration "
    "Qwen3_5MoeForConditionalGeneration",
    "step3": "Step3TextForCausalLM Step3VLForConditionalGeneration",
})  # fmt: skip

_NOT_REASONING = frozenset({
    "ministral-3-14b-instruct-2512",
    "ministral-3-3b-instruct-2512",
    "ministral-3-8b-instruct-2512",
    "mistral-7b-instruct-v0.3",
    "mistral-7b-v0.3",
    "mistral-large-3-675b-instruct-2512",
})  # fmt: skip

_TOOLS_BY_PREFIX = _inverted({
    "apertus": "apertus",
    "deepseek_v3": "deepseek-r1 deepseek-v3",
    "deepseek_v31": "deepseek-v3.1",
    "deepseek_v32": "deepseek-v3.2",
    "deepseek_v4": "deepseek-v4",
    "ernie45": "ernie-4.5",
    "functiongemma": "functiongemma",
    "gemma4": "gemma-4",
    "gigachat3": "gigachat3",
    "glm45": "glm-4",
    "glm47": "glm-4.7",
    "granite": "granite-3",
    "granite4": "granite-4",
    "hermes": "hermes-2 hermes-3 qwen2.5 qwen3 qwq-32b",
    "hunyuan_a13b": "hunyuan-a13b",
    "internlm": "internlm",
    "jamba": "ai21-jamba",
    "kimi_k2": "kimi_k2 kimi-k2",
    "lfm2": "lfm2",
    "llama3_json": "meta-llama-3 llama-3",
    "llama4_pythonic": "meta-llama-4 llama-4",
    "longcat": "longcat",
    "mimo": "mimo",
    "minimax_m2": "minimax-m2",
    "minimax_m3": "minimax-m3",
    "mistral": "mistral ministral",
    "olmo3": "olmo-3",
    "phi4_mini_json": "phi-4-mini",
    "poolside_v1": "laguna",
    "qwen3_coder": "qwen3.5 qwen3.6 qwen3.8",
    "qwen3_xml": "qwen3-coder",
    "seed_oss": "seed-oss",
    "step3": "step3",
    "step3p5": "step3p5",
    "xlam": "llama-xlama xlam",
})  # fmt: skip

_TOOLS_BY_ARCHITECTURE = _inverted({
    "apertus": "ApertusForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "deepseek_v32": "DeepseekV32ForCausalLM",
    "ernie45": "Ernie4_5_MoeForCausalLM Ernie4_5_VLMoeForConditionalGeneration",
    "gemma4": "Gemma4ForConditionalGeneration Gemma4UnifiedForConditionalGeneration",
    "gigachat3": "GigaChat3ForCausalLM",
    "glm45": "Glm4MoeForCausalLM",
    "glm47": "Glm47MoeForCausalLM GlmMoeDsaForCausalLM",
    "granite": "GraniteForCausalLM GraniteMoeForCausalLM",
    "granite-20b-fc": "GPTBigCodeForCausalLM",
    "granite4": "GraniteMoeHybridForCausalLM",
    "hermes": "Qwen2ForCausalLM Qwen3ForCausalLM",
    "hunyuan_a13b": "HunYuanMoEV1ForCausalLM",
    "hy_v3": "HYV3ForCausalLM",
    "internlm": "InternLM2ForCausalLM",
    "jamba": "JambaForCausalLM",
    "kimi_k2": "KimiK25ForConditionalGeneration KimiK2ForCausalLM",
    "lfm2": "Lfm2ForCausalLM Lfm2MoeForCausalLM",
    "llama3_json": "LlamaForCausalLM",
    "llama4_pythonic": "Llama4ForConditionalGeneration",
    "longcat": "LongcatFlashForCausalLM",
    "mimo": "MiMoForCausalLM",
    "minimax_m2": "MiniMaxM2ForCausalLM",
    "minimax_m3": "MiniMaxM3SparseForCausalLM MiniMaxM3SparseForConditionalGeneration",
    "mistral": "MistralForCausalLM MistralLarge3ForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "openai": "GptOssForCausalLM",
    "phi4_mini_json": "Phi4MiniForCausalLM",
    "poolside_v1": "LagunaForCausalLM",
    "qwen3_coder": "NemotronHForCausalLM NemotronH_Nano_VL_V2 Qwen3_5ForConditionalGeneration "
    "Qwen3_5MoeForConditionalGeneration",
    "qwen3_xml": "Qwen3MoeForCausalLM",
    "seed_oss": "SeedOssForCausalLM",
    "step3": "Step3TextForCausalLM",
    "step3p5": "Step3p5TextForCausalLM",
})  # fmt: skip

_CHAT_TEMPLATES = {
    "deepseek-r1": "tool-chat-deepseekr1.jinja",
    "deepseek-v3": "tool-chat-deepseekv3.jinja",
    "gemma-4": "tool-chat-gemma4.jinja",
    "qwen2.5": "tool-chat-hermes.jinja",
    "llama-3": "tool-chat-llama3.1-json.jinja",
    "phi-4-mini": "tool-chat-phi4-mini.jinja",
}
_TOKENIZER_MODES = _inverted({
    "deepseek_v32": "deepseek-r1 deepseek-v3",
    "deepseek_v4": "deepseek-v4",
})  # fmt: skip
_FP8_CACHE = {"deepseek-v4": "fp8", "glm-5.2-fp8": "fp8"}
_GDN_BACKENDS = _inverted({"triton": "qwen3.5 qwen3.6 qwen3.8"})

_MIXED_CACHES = ("NemotronH", "Gemma4", "Qwen3_5", "DeepseekV4", "DeepseekV32", "GptOss")
_DEEP_GEMM = ("DeepseekV4", "DeepseekV32", "GlmMoeDsa")


@dataclass(frozen=True, slots=True)
class Quirks:
    """Fields of a Model by the same names."""

    tool_parser: str = ""
    reasoning_parser: str = ""
    chat_template: str = ""
    tokenizer_mode: str = ""
    kv_dtype: str = "bfloat16"
    cpu_kv_offload: bool = True
    deep_gemm: bool = False
    expert_parallel: bool = False
    vllm_options: dict[str, str] = field(default_factory=dict)


def quirks(name: str, architecture: str) -> Quirks:
    """By the lower-case last part of the Hugging Face id; empty strings where nothing is known."""
    # A distilled model is called after its teacher, but it is built like its pupil.
    own = "" if "-distill-" in name else name
    reasoning = _by_prefix(_REASONING_BY_PREFIX, name)
    if name in _NOT_REASONING:
        reasoning = ""
    elif not reasoning:
        reasoning = _REASONING_BY_ARCHITECTURE.get(architecture, "")
    tools = _by_prefix(_TOOLS_BY_PREFIX, own)
    if not tools and own:
        tools = _TOOLS_BY_ARCHITECTURE.get(architecture, "")
    backend = _by_prefix(_GDN_BACKENDS, name)
    return Quirks(
        tool_parser=tools,
        reasoning_parser=reasoning,
        chat_template=_by_prefix(_CHAT_TEMPLATES, own),
        tokenizer_mode=_by_prefix(_TOKENIZER_MODES, own),
        kv_dtype=_by_prefix(_FP8_CACHE, name) or "bfloat16",
        cpu_kv_offload=not architecture.startswith(_MIXED_CACHES),
        deep_gemm=architecture.startswith(_DEEP_GEMM),
        expert_parallel=name.startswith("minimax-m2"),
        vllm_options={"gdn-prefill-backend": backend} if backend else {},
    )


def _by_prefix(table: Mapping[str, str], name: str) -> str:
    """The value of the longest key that the name starts with."""
    found = max((key for key in table if name.startswith(key)), key=len, default="")
    return table.get(found, "")
