"""ONNX Runtime beside torch: the same vectors of a real model, and nothing of torch where it is not
needed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localcluster import paths
from localcluster.models import Models
from tests.engines.conftest import Engine

pytestmark = pytest.mark.timeout(300)
LOCK = "images/rag/requirements-cpu.lock"
SAME = 1e-5
VARIANTS = (
    *("cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", "older words, joined"),
    *("prompts", "a prompt for passages", "the tokenizer's limit"),
)


@pytest.fixture(scope="module")
def found(
    python_of: Engine, image_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    model = Models(paths.cache_directory(os.environ)).embedder()
    scratch = tmp_path_factory.mktemp("scratch")
    done = subprocess.run(
        [
            str(python_of(LOCK)),
            str(Path(__file__).with_name("onnx_beside_torch.py")),
            str(model),
            str(scratch),
        ],
        # Threads of the tokenizer would be counted with those of ONNX Runtime.
        env={**image_environment, "HOME": str(scratch), "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_nothing_of_torch_is_imported(found: dict[str, Any]) -> None:
    assert found["imported"] == []
    assert found["torch"] == ["torch", "transformers", "sentence_transformers"]


def test_the_vectors_are_torchs(found: dict[str, Any]) -> None:
    assert 0 < found["apart"] < SAME


def test_in_a_batch_as_alone(found: dict[str, Any]) -> None:
    assert found["alone"] < SAME, "this model embeds queries as documents"


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_weights_with_other_files(found: dict[str, Any], name: str) -> None:
    of = found["variants"][name]
    assert 0 < of["apart"] < SAME
    assert (of["prompted"] > 0.01) == (name == "prompts")
    assert of["limits"] == [512 if name == "the tokenizer's limit" else 256] * 2


def test_every_variant_is_judged(found: dict[str, Any]) -> None:
    assert {*found["variants"]} == {*VARIANTS}


def test_the_same_tokens_without_transformers(found: dict[str, Any]) -> None:
    assert found["tokenizers"] == dict.fromkeys(
        ("BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer"), True
    )


def test_an_index_is_not_embedded_anew(found: dict[str, Any]) -> None:
    anew = found["anew"]
    assert (anew["torch's by onnx"], anew["onnx's by torch"]) == ([], [])
    assert len(anew["of another"]) == 3


def test_what_computes_comes_after_what_answers(found: dict[str, Any]) -> None:
    """The thread that embeds, and those that help it, are below the others."""
    assert found["priorities"].count(10) >= found["cpus"]
