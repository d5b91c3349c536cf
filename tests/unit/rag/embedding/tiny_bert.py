"""A folder as sentence-transformers saves it: all but the weights, of a few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "sat", "##s", "query", ":", "Cat"]
MODULE = "sentence_transformers.models"
FILES: dict[str, Any] = {
    "config.json": {"max_position_embeddings": 512},
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": f"{MODULE}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{MODULE}.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{MODULE}.Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 6, "do_lower_case": False},
    "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.0.0"}},
    "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "model_max_length": 512},
}


def folder(at: Path, changed: dict[str, Any] | None = None, *, graph: bool = True) -> Path:
    """Files by name, with what is changed in them; a file that is None is left out. Words are
    added to the objects that they name; lists and None replace."""
    at.mkdir(parents=True, exist_ok=True)
    for name, content in {**FILES, **(changed or {})}.items():
        whole = content
        if isinstance(content, dict) and isinstance(FILES.get(name), dict):
            whole = {**FILES[name], **content}
        if whole is None:
            continue
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    tokenizer().save(str(at / "tokenizer.json"))
    if graph:
        (at / "onnx").mkdir()
        (at / "onnx/model.onnx").write_bytes(b"a graph")
    return at


def tokenizer(*, lowercase: bool = True) -> Tokenizer:
    vocabulary = {word: at for at, word in enumerate(WORDS)}
    found = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return found
