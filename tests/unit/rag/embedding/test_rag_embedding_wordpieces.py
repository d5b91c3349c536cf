"""A tokenizer that is taken as its file has it, and those that transformers would change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rag.embedding import recipe, wordpieces
from rag.embedding.recipe import UnsuitedError
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.unit.rag.embedding import tiny_bert

CONFIG = "tokenizer_config.json"


def load(folder: Path) -> Tokenizer:
    return wordpieces.load(folder, recipe.read(folder))


def test_texts_are_cut_and_padded(tmp_path: Path) -> None:
    long, short = load(tiny_bert.folder(tmp_path)).encode_batch(["A cats " * 9, "Sat"])
    assert long.ids == [2, 4, 5, 7, 4, 3]
    assert short.ids == [2, 6, 3, 0, 0, 0]
    assert short.attention_mask == [1, 1, 1, 0, 0, 0]
    assert not any(short.type_ids)


def test_the_files_own_cuts_and_paddings_do_not_count(tmp_path: Path) -> None:
    folder = tiny_bert.folder(tmp_path)
    other = tiny_bert.tokenizer()
    other.enable_truncation(3)
    other.enable_padding(length=40)
    other.save(str(folder / "tokenizer.json"))
    assert load(folder).encode_batch(["a a a a"])[0].ids == [2, 4, 4, 4, 4, 3]


@pytest.mark.parametrize(("lower", "ids"), [(False, [2, 10, 3]), (True, [2, 5, 3])])
def test_a_model_that_makes_texts_lower_case_itself(
    tmp_path: Path, lower: bool, ids: list[int]
) -> None:
    changed = {
        "sentence_bert_config.json": {"do_lower_case": lower},
        CONFIG: {"do_lower_case": False},
    }
    folder = tiny_bert.folder(tmp_path, changed)
    tiny_bert.tokenizer(lowercase=False).save(str(folder / "tokenizer.json"))
    assert load(folder).encode("Cat").ids == ids


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ({"tokenizer_class": "XLMRobertaTokenizer"}, "its tokenizer is XLMRobertaTokenizer"),
        ({"tokenizer_class": None}, "its tokenizer is None"),
        ({"padding_side": "left"}, "on the left"),
        ({"truncation_side": "left"}, "on the left"),
        ({"do_lower_case": False}, "the same normalizer"),
        ({"strip_accents": True}, "the same normalizer"),
        ({"tokenize_chinese_chars": False}, "the same normalizer"),
        ({"unk_token": "[PAD]"}, "the same model"),
        ({"cls_token": {"content": "[SEP]"}}, "the same special tokens"),
        ({"pad_token": "<none>"}, "the same special tokens"),
        ({"added_tokens_decoder": {"99": {"content": "<new>"}}}, "the same special tokens"),
    ],
    ids=str,
)
def test_what_transformers_would_change(tmp_path: Path, says: dict[str, Any], told: str) -> None:
    with pytest.raises(UnsuitedError, match=told):
        load(tiny_bert.folder(tmp_path, {CONFIG: says}))


def _splits(found: Tokenizer) -> None:
    found.pre_tokenizer = pre_tokenizers.Whitespace()


def _is_another(found: Tokenizer) -> None:
    found.model = models.WordLevel({"[UNK]": 1}, unk_token="[UNK]")


def _surrounds_not(found: Tokenizer) -> None:
    found.post_processor = processors.TemplateProcessing(
        single="$A:0 [SEP]:0", pair="$A:0 $B:1", special_tokens=[("[SEP]", 3)]
    )


def _pads_left(found: Tokenizer) -> None:
    found.enable_padding(direction="left")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_splits, "the same pre-tokenizer"),
        (_is_another, "the same model"),
        (_surrounds_not, "the same special tokens"),
        (_pads_left, "on the left"),
    ],
)
def test_a_file_that_says_something_else(
    tmp_path: Path, change: Callable[[Tokenizer], None], told: str
) -> None:
    folder = tiny_bert.folder(tmp_path)
    found = tiny_bert.tokenizer()
    change(found)
    found.save(str(folder / "tokenizer.json"))
    with pytest.raises(UnsuitedError, match=told):
        load(folder)


@pytest.mark.parametrize("content", [None, "{}"])
def test_no_tokenizer(tmp_path: Path, content: str | None) -> None:
    file = tiny_bert.folder(tmp_path) / "tokenizer.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(UnsuitedError, match=r"tokenizer\.json"):
        load(tmp_path)
