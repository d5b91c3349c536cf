"""ONNX Runtime on CPUs: the same vectors as sentence-transformers' without its seconds of imports
and without torch's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from serving import machine
from tokenizers import Tokenizer

from rag.documents import Vectors
from rag.embedding import pooling, recipe, vectors, wordpieces
from rag.embedding.lines import Pace
from rag.embedding.model import Model
from rag.embedding.recipe import Recipe, UnsuitedError
from rag.errors import EmbedderError

_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_OUTPUTS = ("last_hidden_state", "token_embeddings")
"""By both names exporters call the same; what else a graph gives is not asked for."""
_BATCH_TOKENS = 128
"""On a core larger batches are slower: of 100 tokens each, one at a time were half as many again a
second as twenty at once, with 384 dimensions (docs/benchmarks.md)."""

Faults: TypeAlias = tuple[type[Exception], ...]
_FAULTS: Faults = (RuntimeError, ValueError, TypeError, MemoryError)
"""Of texts that are no Unicode, and of memory."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What onnxruntime has made of the file."""

    session: Any
    faults: Faults
    """What it raises."""


def opened(folder: Path) -> Model:
    """Raises UnsuitedError where another way of embedding must be taken."""
    found = recipe.read(folder)
    tokenizer = wordpieces.load(folder, found)
    encoder = Encoder(_graph(folder / recipe.ONNX), tokenizer, found)
    try:
        tried = encoder(["once"], False)
    except EmbedderError as error:
        raise UnsuitedError(error.detail) from error
    # Cores that share a call wait for each other some hundred times in it.
    pace = Pace(threads=machine.cpus(), queries=1, batch_tokens=_BATCH_TOKENS)
    runtime = f"ONNX Runtime, {machine.cpus()} CPUs"
    return Model(encoder, pace, tried.shape[1], found.max_tokens, runtime)


class Encoder:
    """Texts to vectors, each call on the core of who calls; for any number of threads."""

    def __init__(self, graph: Graph, tokenizer: Tokenizer, by: Recipe) -> None:
        """Raises UnsuitedError for a graph that asks for something else than tokens, or does not
        answer a vector for each."""
        self._session = graph.session
        self._faults = graph.faults
        self._tokenizer = tokenizer
        self._by = by
        self._inputs = {each.name for each in self._session.get_inputs()}
        outputs = [each.name for each in self._session.get_outputs()]
        self._output = next((each for each in _OUTPUTS if each in outputs), "")
        if not {"input_ids", "attention_mask"} <= self._inputs <= _INPUTS or not self._output:
            given = ", ".join([*sorted(self._inputs), "->", *outputs])
            raise UnsuitedError(f"its graph has the inputs and outputs {given}")

    def __call__(self, texts: Sequence[str], queries: bool) -> Vectors:
        """Raises EmbedderError."""
        prompt = self._by.query_prompt if queries else self._by.document_prompt
        try:
            tokens = self._tokenizer.encode_batch_fast([prompt + text for text in texts])
            arrays = {
                "input_ids": np.array([each.ids for each in tokens], np.int64),
                "attention_mask": np.array([each.attention_mask for each in tokens], np.int64),
                "token_type_ids": np.array([each.type_ids for each in tokens], np.int64),
            }
            fed = {name: arrays[name] for name in self._inputs}
            (found,) = self._session.run([self._output], fed)
        except self._faults as error:
            raise EmbedderError(f"The embedding model failed: {error}") from error
        pooled = pooling.pooled(found, arrays["attention_mask"], self._by.modes)
        return vectors.unit(pooled, len(texts))


def _graph(path: Path) -> Graph:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    raised = [each for each in vars(state).values() if isinstance(each, type)]
    faults: Faults = (*_FAULTS, *(each for each in raised if issubclass(each, Exception)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # batches differ in shape, and each would be remembered
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except faults as error:
        raise UnsuitedError(f"its {recipe.ONNX} cannot be loaded: {error}") from error
    return Graph(session, faults)
