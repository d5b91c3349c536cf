"""What a folder's files say of how its vectors are made, and what is not known of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rag.embedding import recipe
from rag.embedding.recipe import UnsuitedError

from tests.unit.rag.embedding import tiny_bert

POOLING = "1_Pooling/config.json"
SAID = "config_sentence_transformers.json"
BERT = "sentence_bert_config.json"
MODULES = tiny_bert.FILES["modules.json"]
PATH = "sentence_transformers.sentence_transformer.modules"


def test_an_older_folder(tmp_path: Path) -> None:
    found = recipe.read(tiny_bert.folder(tmp_path))
    assert found == recipe.Recipe(("mean",), 6, False, "", "")


def test_a_newer_folder(tmp_path: Path) -> None:
    reads = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    changed = {
        "modules.json": [
            {"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
            {"path": "1_Pooling", "type": f"{PATH}.pooling.Pooling"},
            {"path": "2_Normalize", "type": "sentence_transformers.base.modules.Normalize"},
        ],
        POOLING: '{"embedding_dimension": 4, "pooling_mode": "cls", "include_prompt": true}',
        "2_Normalize/config.json": {"module_input_name": "sentence_embedding"},
        BERT: {
            "transformer_task": "feature-extraction",
            "modality_config": reads,
            "module_output_name": "token_embeddings",
        },
        SAID: {
            "model_type": "SentenceTransformer",
            "prompts": {"query": "q: ", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }
    found = recipe.read(tiny_bert.folder(tmp_path, changed))
    assert found == recipe.Recipe(("cls",), 6, False, "q: ", "")


@pytest.mark.parametrize(
    ("says", "modes"),
    [
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, ("cls",)),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, ("cls", "max", "mean")),
        ({"pooling_mode_mean_tokens": False}, ("mean",)),
        ({"pooling_mode": "lasttoken"}, ("lasttoken",)),
        ({"pooling_mode": ["max", "cls"]}, ("max", "cls")),
    ],
    ids=str,
)
def test_pooling(tmp_path: Path, says: dict[str, Any], modes: tuple[str, ...]) -> None:
    assert recipe.read(tiny_bert.folder(tmp_path, {POOLING: says})).modes == modes


@pytest.mark.parametrize(
    ("prompts", "query", "document"),
    [
        ({"query": "query: ", "passage": "passage: "}, "query: ", ""),
        ({"query": "q ", "document": "d "}, "q ", "d "),
        ({"query": None}, "", ""),
    ],
)
def test_prompts(tmp_path: Path, prompts: dict[str, Any], query: str, document: str) -> None:
    changed = {SAID: {"prompts": prompts, "default_prompt_name": "query"}}
    found = recipe.read(tiny_bert.folder(tmp_path, changed))
    assert (found.query_prompt, found.document_prompt) == (query, document)


@pytest.mark.parametrize(
    ("changed", "limit"),
    [
        ({BERT: '{"do_lower_case": false}'}, 512),
        ({BERT: None, "config.json": {"max_position_embeddings": 8}}, 8),
        ({BERT: None, "tokenizer_config.json": {"model_max_length": 7}}, 7),
        ({BERT: None, "tokenizer_config.json": {"model_max_length": int(1e30)}}, 512),
        ({BERT: {"max_seq_length": 9000}}, 9000),  # said, so nothing else limits it
    ],
    ids=str,
)
def test_the_limit_of_tokens(tmp_path: Path, changed: dict[str, Any], limit: int) -> None:
    assert recipe.read(tiny_bert.folder(tmp_path, changed)).max_tokens == limit


UNSUITED: list[tuple[dict[str, Any], str]] = [
    ({"modules.json": None}, "it has no modules.json"),
    ({"modules.json": "[}"}, "its modules.json cannot be read"),
    ({"modules.json": [*MODULES, {"type": f"{tiny_bert.MODULE}.Dense"}]}, "Normalize, Dense"),
    ({"modules.json": [MODULES[1]]}, "its modules are Pooling"),
    ({"modules.json": [{"path": "", "type": "my.Transformer"}, MODULES[1]]}, "my.Transformer"),
    ({"modules.json": [{**MODULES[0], "path": "0_T"}, *MODULES[1:]]}, "a folder of its own"),
    ({"2_Normalize/config.json": {"module_input_name": "token_embeddings"}}, "something else"),
    ({"adapter_config.json": {}}, "it has an adapter"),
    ({POOLING: {"pooling_mode": "median"}}, "its pooling is median"),
    ({POOLING: {"attention": 1}}, "says attention = 1"),
    ({POOLING: {"include_prompt": False}, SAID: {"prompts": {"query": "q"}}}, "leaves the prompt"),
    ({POOLING: "[]"}, "is no object"),
    ({SAID: {"model_type": "SparseEncoder"}}, "says model_type = 'SparseEncoder'"),
    ({SAID: {"truncate_dim": 64}}, "says truncate_dim = 64"),
    ({SAID: {"requirements": ["x"]}}, "says requirements"),
    ({SAID: {"prompts": {}, "default_prompt_name": "sts"}}, "its default prompt"),
    ({BERT: {"query_length": 32}}, "says query_length = 32"),
    ({BERT: {"transformer_task": "fill-mask"}}, "says transformer_task"),
    ({BERT: {"model_args": {"dtype": "float16"}}}, "says model_args"),
    ({BERT: None, "sentence_roberta_config.json": {}}, "one of another name"),
    ({BERT: {"max_seq_length": 0}}, "nothing limits its tokens"),
]


@pytest.mark.parametrize(("changed", "told"), UNSUITED, ids=[told for _, told in UNSUITED])
def test_what_is_not_known_is_left_to_torch(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(UnsuitedError, match=told):
        recipe.read(tiny_bert.folder(tmp_path, changed))


def test_a_folder_without_a_graph(tmp_path: Path) -> None:
    bare = tiny_bert.folder(tmp_path, graph=False)
    with pytest.raises(UnsuitedError, match=r"it has no onnx/model\.onnx"):
        recipe.read(bare)
    (bare / "onnx").mkdir()
    (bare / "onnx/model_qint8_avx512.onnx").touch()
    with pytest.raises(UnsuitedError, match=r"it has no onnx/model\.onnx"):
        recipe.read(bare)
