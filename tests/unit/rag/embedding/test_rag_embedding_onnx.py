"""What is given to a graph, and what its answer becomes; the graph is the test's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rag.embedding import recipe, wordpieces
from rag.embedding.onnx import Encoder, Graph
from rag.embedding.recipe import Recipe, UnsuitedError
from rag.errors import EmbedderError

from tests.unit.rag.embedding import tiny_bert

BOTH = ("input_ids", "attention_mask")


class GraphFault(Exception):
    """As onnxruntime's own, which have no common base."""


@dataclass(frozen=True)
class Named:
    name: str


@dataclass
class Session:
    """A token's vector is its number, and 1."""

    inputs: Sequence[str] = BOTH
    outputs: Sequence[str] = ("last_hidden_state",)
    fault: Exception | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def get_inputs(self) -> list[Named]:
        return [Named(each) for each in self.inputs]

    def get_outputs(self) -> list[Named]:
        return [Named(each) for each in self.outputs]

    def run(self, outputs: Sequence[str], fed: Mapping[str, Any]) -> list[Any]:
        self.asked.append(dict(fed))
        assert fed.keys() == {*self.inputs}
        assert outputs in (["last_hidden_state"], ["token_embeddings"])
        if self.fault is not None:
            raise self.fault
        ids = fed["input_ids"].astype(np.float32)
        return [np.stack([ids, np.ones_like(ids)], axis=2)]


def encoder(folder: Path, session: Session, **more: Any) -> Encoder:
    tiny_bert.folder(folder)
    by: Recipe = replace(recipe.read(folder), **more)
    faults = (GraphFault, TypeError)
    return Encoder(Graph(session, faults), wordpieces.load(folder, by), by)


def test_a_batch(tmp_path: Path) -> None:
    session = Session()
    found = encoder(tmp_path, session)(["a", "cats sat"], False)
    (fed,) = session.asked
    assert {each.dtype for each in fed.values()} == {np.dtype(np.int64)}
    assert fed["input_ids"].tolist() == [[2, 4, 3, 0, 0], [2, 5, 7, 6, 3]]
    assert fed["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    expected = np.array([[3, 1], [23 / 5, 1]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_prompts_come_before(tmp_path: Path) -> None:
    session = Session()
    embed = encoder(tmp_path, session, query_prompt="query: ", document_prompt="a ")
    embed(["cat"], True)
    embed(["cat"], False)
    assert [each["input_ids"].tolist() for each in session.asked] == [
        [[2, 8, 9, 5, 3]],
        [[2, 4, 5, 3]],
    ]


@pytest.mark.parametrize(
    "outputs", [["token_embeddings", "sentence_embedding"], ["x", "last_hidden_state"]]
)
def test_a_graph_gets_what_it_declares(tmp_path: Path, outputs: list[str]) -> None:
    session = Session((*BOTH, "token_type_ids"), outputs)
    encoder(tmp_path, session)(["a"], False)
    assert session.asked[0]["token_type_ids"].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    "session",
    [
        Session((*BOTH, "position_ids")),
        Session(("input_ids",)),
        Session(outputs=["pooler_output", "logits"]),
    ],
    ids=["asks for more", "asks for less", "answers something else"],
)
def test_a_graph_of_another_kind(tmp_path: Path, session: Session) -> None:
    with pytest.raises(UnsuitedError, match="its graph has the inputs and outputs "):
        encoder(tmp_path, session)


@pytest.mark.parametrize("text", ["a", "\ud800"], ids=["the graph", "no Unicode"])
def test_what_fails_is_told(tmp_path: Path, text: str) -> None:
    session = Session(fault=GraphFault("no memory"))
    with pytest.raises(EmbedderError, match="The embedding model failed: "):
        encoder(tmp_path, session)([text], True)
