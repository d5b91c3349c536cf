"""Run with the image's Python: a model that knows nothing, adapters of it, and what plain
`model.generate` makes of them. `tiny_llama.py DIRECTORY` writes all of it below the directory."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PROMPTS = (
    "the quick",
    "line 7: the quick brown fox 49 jumps over the lazy dog of city number",
    "jumps",
    "a city of many lazy foxes, and of one quick dog that jumps over line 3: the brown",
)
ANSWER = 24
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}assistant:"
)


def tokenizer() -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    lines = [f"line {i}: the quick brown fox {i} jumps over the lazy dog" for i in range(150)]
    special = ["<s>", "</s>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, initial_alphabet=letters)
    made.train_from_iterator(lines, trainer)
    found = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")
    found.chat_template = TEMPLATE
    return found


def write_model(folder: Path) -> None:
    words = tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.15,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)


def write_adapter(model: Path, folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = LoraConfig(
        r=8, lora_alpha=16, init_lora_weights=False, target_modules=["q_proj", "v_proj"]
    )
    get_peft_model(LlamaForCausalLM.from_pretrained(model), config).save_pretrained(folder)


def answers(model: Any, words: Any) -> list[dict[str, Any]]:
    """Greedy, and how likely the whole answer is."""
    found = []
    for prompt in PROMPTS:
        ids = torch.tensor([words.encode(prompt)])
        rules = {"max_new_tokens": ANSWER, "min_new_tokens": ANSWER, "do_sample": False}
        said = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pad_token_id=1, **rules
        )
        with torch.inference_mode():
            logits = model(input_ids=said).logits[0, ids.shape[1] - 1 : -1]
        new = said[0, ids.shape[1] :]
        chances = torch.log_softmax(logits.float(), dim=-1)
        total = chances.gather(1, new[:, None]).sum()
        text = words.decode(new, skip_special_tokens=True)
        found.append({"prompt": prompt, "text": text, "logprob": float(total)})
    return found


def main(place: Path) -> None:
    model = place / "model"
    write_model(model)
    for seed, name in enumerate(("warm", "cold", "late"), 1):
        write_adapter(model, place / name, seed)
    half = place / "half"
    write_adapter(model, half, 1)
    (half / "kaito-strength").write_text("0.5")
    words = tokenizer()
    base = LlamaForCausalLM.from_pretrained(model).eval()
    found = {"tiny": answers(base, words)}
    for name in ("warm", "cold", "late"):
        adapted = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(model), place / name)
        found[name] = answers(adapted.eval(), words)
    (place / "expected.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
