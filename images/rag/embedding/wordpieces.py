"""A model's tokenizer without transformers, where both make the same tokens of every text.

transformers 5 makes the tokenizers of BERT's kin anew, from their vocabulary and from
tokenizer_config.json, whatever else tokenizer.json says. Only where both files say the same is the
latter taken as it is; a tokenizer of another kind is unsuited.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from rag.embedding.recipe import Recipe, UnsuitedError, words

_FILE = "tokenizer.json"
_CONFIG = "tokenizer_config.json"
_SPECIAL = ("cls_token", "sep_token", "pad_token", "unk_token")
_RIGHT = {"direction": "right"}
_BERT = ("[CLS]", "[SEP]", "[PAD]", "[UNK]")
_KINDS = MappingProxyType(
    {
        "BertTokenizer": _BERT,
        "DistilBertTokenizer": _BERT,
        "MPNetTokenizer": ("<s>", "</s>", "<pad>", "[UNK]"),
    }
)
"""Those that were compared with transformers', and their special tokens where none are said."""


def load(folder: Path, recipe: Recipe) -> Tokenizer:
    """Cuts texts and pads batches, as sentence-transformers has it done. Raises UnsuitedError."""
    if not (folder / _FILE).is_file():
        raise UnsuitedError(f"it has no {_FILE}")
    says = words(folder, _CONFIG)
    kind = str(says.get("tokenizer_class")).removesuffix("Fast")
    if kind not in _KINDS:
        raise UnsuitedError(f"its tokenizer is {kind}")
    try:
        tokenizer = Tokenizer.from_file(str(folder / _FILE))
    except Exception as error:  # tokenizers has no error of its own
        raise UnsuitedError(f"its {_FILE} cannot be read: {error}") from error
    sides = {(each or _RIGHT)["direction"] for each in (tokenizer.truncation, tokenizer.padding)}
    sides |= {says.get(each, "right") for each in ("padding_side", "truncation_side")}
    if sides != {"right"}:
        raise UnsuitedError("its tokenizer pads or cuts on the left")
    special = dict(zip(_SPECIAL, _KINDS[kind], strict=True))
    special |= {name: _content(says[name]) for name in _SPECIAL if says.get(name)}
    _compare(tokenizer, says, special)
    if recipe.lower_case:
        before = [normalizers.Lowercase(), tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence(before)
    tokenizer.enable_truncation(recipe.max_tokens)
    pad = special["pad_token"]
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad), pad_token=pad)
    return tokenizer


def _compare(tokenizer: Tokenizer, says: Mapping[str, Any], special: Mapping[str, str]) -> None:
    """Raises UnsuitedError where transformers would make another."""
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=says.get("tokenize_chinese_chars", True),
        strip_accents=says.get("strip_accents"),
        lowercase=says.get("do_lower_case", True),
    )
    model = tokenizer.model
    for name, same in (
        ("normalizer", _state(tokenizer.normalizer) == _state(normalizer)),
        (
            "pre-tokenizer",
            _state(tokenizer.pre_tokenizer) == _state(pre_tokenizers.BertPreTokenizer()),
        ),
        ("model", _pieces(model) == ("##", 100, special["unk_token"])),
        ("special tokens", _surrounds(tokenizer, special) and _added(tokenizer, says)),
    ):
        if not same:
            raise UnsuitedError(f"{_FILE} and {_CONFIG} do not have the same {name}")


def _state(component: Any) -> Any:
    """Of a tokenizer's part, as JSON."""
    return None if component is None else component.__getstate__()


def _pieces(model: Any) -> tuple[str, int, str] | None:
    """WordPiece's settings; None of another kind."""
    if type(model).__name__ != "WordPiece":
        return None
    return model.continuing_subword_prefix, model.max_input_chars_per_word, model.unk_token


def _surrounds(tokenizer: Tokenizer, special: Mapping[str, str]) -> bool:
    ids = {name: tokenizer.token_to_id(token) for name, token in special.items()}
    tokenizer.no_padding()
    around = tokenizer.encode("")
    return (
        None not in ids.values()
        and around.ids == [ids["cls_token"], ids["sep_token"]]
        and around.type_ids == [0, 0]
    )


def _added(tokenizer: Tokenizer, says: Mapping[str, Any]) -> bool:
    added = says.get("added_tokens_decoder") or {}
    return all(tokenizer.token_to_id(_content(each)) == int(at) for at, each in added.items())


def _content(token: Any) -> str:
    """Of a special token, which is a text or an object that has it."""
    return str(token.get("content")) if isinstance(token, dict) else str(token)
