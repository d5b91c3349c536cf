"""What transformers and PEFT answer, in the environment of the tuning image.

python reference.py tiny DIRECTORY                      a random Llama as GGUF, and adapters of PEFT
python reference.py ask MODEL IDS [ADAPTER…]            log-probabilities of the next token, of the
                                                        model and with each adapter alone
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

WORDS = 256
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tiny(directory: Path) -> None:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(directory / "model")
    (directory / "model.gguf").write_bytes(gguf(model))
    save(model, directory / "adapters" / "plain", r=4, lora_alpha=8)
    save(
        model,
        directory / "adapters" / "patterns",
        r=4,
        lora_alpha=6,
        use_rslora=True,
        rank_pattern={"q_proj": 2, "down_proj": 8},
        alpha_pattern={"k_proj": 3, "layers.1.self_attn.v_proj": 12},
    )


def save(model: Any, folder: Path, **options: Any) -> None:
    found = get_peft_model(model, LoraConfig(target_modules=MODULES, **options))
    for name, parameter in found.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    found.to(torch.bfloat16 if "plain" in folder.name else torch.float32)
    found.save_pretrained(folder)
    found.to(torch.float32)
    found.unload()


def gguf(model: Any) -> bytes:
    """As llama.cpp converts it, tokens being bytes."""
    config = model.config
    numbers = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "rope.dimension_count": config.head_dim,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "vocab_size": WORDS,
    }
    words = [chr(0x100 + number) for number in range(WORDS)]
    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        *(text(f"llama.{key}") + struct.pack("<II", 4, value) for key, value in numbers.items()),
        text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, config.rms_norm_eps),
        text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("gpt2"),
        text("tokenizer.ggml.pre") + struct.pack("<I", 8) + text("gpt-2"),
        text("tokenizer.ggml.tokens") + texts(words),
        text("tokenizer.ggml.merges") + texts([f"{words[0]} {words[1]}"]),
        *(
            text(f"tokenizer.ggml.{key}_token_id") + struct.pack("<II", 4, 0)
            for key in ("bos", "eos")
        ),
    ]
    infos, data = [], b""
    for name, tensor in model.state_dict().items():
        for side, heads in (("q", config.num_attention_heads), ("k", config.num_key_value_heads)):
            if name.endswith(f"{side}_proj.weight"):
                halves = tensor.reshape(heads, 2, -1, tensor.shape[1])
                tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
        shape = struct.pack(f"<I{tensor.dim()}Q", tensor.dim(), *reversed(tensor.shape))
        infos.append(text(renamed(name)) + shape + struct.pack("<IQ", 0, len(data)))
        content = tensor.float().contiguous().numpy().tobytes()
        data += content + bytes(-len(content) % 32)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(pairs)) + b"".join(pairs + infos)
    return head + bytes(-len(head) % 32) + data


def renamed(name: str) -> str:
    module = name.removesuffix(".weight")
    layer, _, rest = module.removeprefix("model.layers.").partition(".")
    if module.startswith("model.layers."):
        return f"blk.{layer}.{NAMES[rest]}.weight"
    return f"{NAMES[module]}.weight"


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words.encode())) + words.encode()


def texts(words: list[str]) -> bytes:
    return struct.pack("<IIQ", 9, 8, len(words)) + b"".join(text(each) for each in words)


def ask(folder: str, ids: list[int], adapters: list[str]) -> list[list[float]]:
    found = []
    for adapter in ("", *adapters):
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        if adapter:
            model = PeftModel.from_pretrained(model, adapter)
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1]
        found.append([float(each) for each in logits.log_softmax(-1)])
    return found


if sys.argv[1] == "tiny":
    tiny(Path(sys.argv[2]))
else:
    print(json.dumps(ask(sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:])))
