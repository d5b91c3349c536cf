"""How a folder of sentence-transformers makes a vector of a text, as its files say it.

What is read here is computed exactly as that library computes it. A word in these files that is
not known here may change the vectors: the folder is unsuited then, and torch embeds with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.embedding.pooling import MODES

ONNX = "onnx/model.onnx"
"""The graph in float32, where the repositories of Hugging Face have it. What lies beside it
(`model_O4.onnx`, `model_qint8_*.onnx`) makes other vectors, and is never taken."""
_OURS = "sentence_transformers."
_OLDER_MODES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_READS_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_SENTENCE = "sentence_embedding"
_ANY = object()


class UnsuitedError(Exception):
    """Says why ONNX Runtime does not embed with this model."""


@dataclass(frozen=True, slots=True)
class Recipe:
    modes: tuple[str, ...]
    """Of pooling; the vectors of several are joined."""
    max_tokens: int
    """Of a text, with those that the tokenizer sets around it."""
    lower_case: bool
    """Of the text, before the tokenizer's own rules."""
    query_prompt: str
    document_prompt: str


def read(folder: Path) -> Recipe:
    """Raises UnsuitedError."""
    if not (folder / ONNX).is_file():
        raise UnsuitedError(f"it has no {ONNX}")
    if (folder / "adapter_config.json").exists():
        raise UnsuitedError("it has an adapter")
    pooling = _pooling(folder, _modules(folder))
    prompts = _prompts(folder)
    if not pooling.get("include_prompt", True) and any(prompts):
        raise UnsuitedError("its pooling leaves the prompt out")
    limit, lower_case = _transformer(folder)
    return Recipe(_modes(pooling), limit, lower_case, *prompts)


def words(folder: Path, name: str) -> Mapping[str, Any]:
    """The JSON object of that name; empty where there is none. Raises UnsuitedError."""
    found = _json(folder, name, {})
    if not isinstance(found, dict):
        raise UnsuitedError(f"its {name} is no object")
    return found


def _json(folder: Path, name: str, default: Any) -> Any:
    try:
        return json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise UnsuitedError(f"its {name} cannot be read: {error}") from error


def _modules(folder: Path) -> str:
    """The path of the pooling; a Normalize after it changes nothing, as every vector is made of
    unit length in the end."""
    modules = _json(folder, "modules.json", None)
    if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
        raise UnsuitedError("it has no modules.json")
    types = [str(each.get("type")) for each in modules]
    kinds = [each.rpartition(".")[2] if each.startswith(_OURS) else each for each in types]
    if kinds[:2] != ["Transformer", "Pooling"] or set(kinds[2:]) - {"Normalize"}:
        raise UnsuitedError(f"its modules are {', '.join(kinds) or 'none'}")
    if modules[0].get("path"):
        raise UnsuitedError("its transformer lies in a folder of its own")
    for each in modules[2:]:
        says = words(folder, f"{each.get('path')}/config.json")
        if {*says.values()} - {_SENTENCE, None}:
            raise UnsuitedError("it normalizes something else than the vector")
    return str(modules[1].get("path"))


def _pooling(folder: Path, path: str) -> Mapping[str, Any]:
    name = f"{path}/config.json"
    says = words(folder, name)
    known = dict.fromkeys(
        ("word_embedding_dimension", "embedding_dimension", "pooling_mode", *_OLDER_MODES.values()),
        _ANY,
    )
    _only(says, {**known, "include_prompt": _ANY}, name)
    return says


def _modes(says: Mapping[str, Any]) -> tuple[str, ...]:
    """The older words count where the newer one is missing; mean where none is said."""
    modes = says.get("pooling_mode")
    if modes is None:
        modes = [mode for mode, word in _OLDER_MODES.items() if says.get(word)] or "mean"
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if strange := [str(each) for each in modes if each not in MODES]:
        raise UnsuitedError(f"its pooling is {', '.join(strange)}")
    return modes


def _prompts(folder: Path) -> tuple[str, str]:
    """Before queries and before documents. sentence-transformers has both by these names, if need
    be empty, so neither `passage` nor the default prompt is ever taken for them."""
    name = "config_sentence_transformers.json"
    says = words(folder, name)
    known = {
        "__version__": _ANY,
        "model_type": "SentenceTransformer",
        "prompts": _ANY,
        "default_prompt_name": _ANY,
        "similarity_fn_name": _ANY,
        "truncate_dim": None,
    }
    _only(says, known, name)
    prompts = says.get("prompts") or {}
    if says.get("default_prompt_name") not in (None, "query", "document", *prompts):
        raise UnsuitedError("its default prompt is not among its prompts")
    query, document = (prompts.get(each) or "" for each in ("query", "document"))
    return query, document


def _transformer(folder: Path) -> tuple[int, bool]:
    """The limit of tokens, and whether texts are made lower case."""
    name = "sentence_bert_config.json"
    says = words(folder, name)
    if not (folder / name).exists() and any(folder.glob("sentence_*_config.json")):
        raise UnsuitedError(f"it has no {name}, and one of another name")
    known = {
        "max_seq_length": _ANY,
        "do_lower_case": _ANY,
        "transformer_task": "feature-extraction",
        "modality_config": _READS_TEXT,
        "module_output_name": "token_embeddings",
        "unpad_inputs": _ANY,
    }
    _only(says, known, name)
    limit = says.get("max_seq_length")
    if limit is None:
        limits = (
            words(folder, "tokenizer_config.json").get("model_max_length"),
            words(folder, "config.json").get("max_position_embeddings"),
        )
        limit = min((each for each in limits if each and each > 0), default=0)
    if not isinstance(limit, int) or not 2 < limit < 1 << 20:
        raise UnsuitedError("nothing limits its tokens")
    return limit, bool(says.get("do_lower_case"))


def _only(says: Mapping[str, Any], known: Mapping[str, Any], name: str) -> None:
    """Raises UnsuitedError for a word that is not known, or says what is not known."""
    for word, value in says.items():
        if word not in known or (known[word] is not _ANY and value != known[word]):
            raise UnsuitedError(f"its {name} says {word} = {value!r}")
