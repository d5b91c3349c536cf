"""What is known of a language model before it runs: one frozen value for planner and engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

GIB = 1 << 30

Runtime = Literal["vllm", "transformers", "llamacpp"]

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}


class Upstream(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What KAITO's own catalogue says where it differs from what is loaded and kept."""

    weights: str = ""
    """Sum of the weight files of the whole repository, as `27.31Gi`."""
    kv_bytes_per_token: int = 0
    """All layers, two bytes a value."""


class Model(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A preset. Sizes are bytes; an architecture number that is not known is 0.

    The strings that go to vLLM (parsers, formats, `vllm_options`) are spelled as its flags
    expect them.
    """

    name: str
    hf_id: str
    revision: str = ""
    """A commit, so that the same weights come tomorrow; empty follows the main branch."""
    licence: str = ""
    architecture: str = ""
    aliases: tuple[str, ...] = ()
    auth_required: bool = False

    weights_bytes: int
    """As loaded, in `dtype` or quantised; each weight once."""
    disk_gib: int = 0
    parameters: float = 0
    """Thousand millions; 0 derives it from the weights where they are not quantised."""
    moe: bool = False
    active_parameters: float = 0
    """Of a mixture of experts, what works on one token (thousand millions); 0 is not known."""
    dtype: str = "bfloat16"
    quantization: str = ""
    gguf_file: str | None = None
    """In the repository; of a model in several files the first."""
    gguf_bytes: int = 0

    max_model_len: int = 2048
    hidden_size: int = 0
    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    vocab_size: int = 0
    attention_layers: int | None = None
    """Layers that keep keys and values of every token; None is all of them."""
    sliding_layers: int = 0
    """Layers that keep only the last `sliding_window` tokens; what is left keeps a fixed state."""
    sliding_window: int = 0
    kv_lora_rank: int = 0
    """With `qk_rope_head_dim`: multi-head latent attention, which every GPU keeps in full."""
    qk_rope_head_dim: int = 0
    kv_dtype: str = "bfloat16"
    kv_bytes_per_token: int
    """What one more token of context costs all layers together, in the dtype that is kept."""
    upstream: Upstream = Upstream()

    tool_parser: str = ""
    reasoning_parser: str = ""
    chat_template: str = ""
    tokenizer_mode: str = ""
    load_format: str = ""
    config_format: str = ""
    trust_remote_code: bool = False
    expert_parallel: bool = False
    cpu_kv_offload: bool = True
    """False where the layers' caches differ and vLLM cannot move them to the host."""
    deep_gemm: bool = False
    cuda_toolkit: bool = False
    lora: bool = True
    """Whether the engine loads adapters for this architecture."""
    runtimes: tuple[Runtime, ...] = ("vllm",)
    tuning: bool = False
    vllm_options: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.weights_bytes <= 0:
            raise ValueError("weights_bytes must be more than 0")
        if self.heads and self.kv_heads and self.heads % self.kv_heads:
            raise ValueError(f"kv_heads {self.kv_heads} does not divide heads {self.heads}")
        if self.kept_layers + self.sliding_layers > self.layers:
            raise ValueError("attention_layers and sliding_layers are more than layers")
        if self.sliding_layers and not self.sliding_window:
            raise ValueError("sliding_layers need a sliding_window")

    @property
    def latent_attention(self) -> bool:
        return self.kv_lora_rank > 0

    @property
    def kept_layers(self) -> int:
        """Layers whose cache grows with every token."""
        return self.layers if self.attention_layers is None else self.attention_layers

    @property
    def parameter_count(self) -> float:
        """Single parameters, or 0 where neither the catalogue nor the weights tell."""
        if self.parameters:
            return self.parameters * 1e9
        return 0 if self.quantization else self.weights_bytes / DTYPE_BYTES[self.dtype]

    @property
    def upstream_weights_bytes(self) -> int:
        """What KAITO's estimator takes for the weights."""
        return size_in_bytes(self.upstream.weights) or self.weights_bytes

    @property
    def upstream_kv_bytes_per_token(self) -> int:
        """What KAITO's estimator takes for one token: every layer, always two bytes a value."""
        return (
            self.upstream.kv_bytes_per_token
            or kv_bytes(self, layers=self.layers, value_bytes=2)
            or self.kv_bytes_per_token
        )

    @property
    def startup_seconds(self) -> int:
        """How long loading may take: upstream's 15 minutes and 18 s a GiB, within 30 to 180."""
        seconds = 15 * 60 + 18 * self.upstream_weights_bytes / GIB
        return round(min(max(seconds, 30 * 60), 180 * 60))


def kv_bytes(model: Model, *, layers: int, value_bytes: int) -> int:
    """Cache of one token over that many layers, from the architecture; 0 where it is unknown."""
    if model.latent_attention:
        return (model.kv_lora_rank + model.qk_rope_head_dim) * layers * value_bytes
    return 2 * model.kv_heads * model.head_dim * layers * value_bytes


def size_in_bytes(text: str) -> int:
    """`27.31Gi` in bytes, rounded up as Kubernetes does; 0 for an empty text."""
    if not text:
        return 0
    number = text.removesuffix("Gi")
    if number == text:
        raise ValueError(f"{text!r} does not end in Gi")
    # KAITO prints two decimals; as an integer of hundredths the last byte comes out right.
    return -(-round(float(number) * 100) * GIB // 100)
