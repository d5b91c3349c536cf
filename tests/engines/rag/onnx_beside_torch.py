"""The same texts by ONNX Runtime and by sentence-transformers on torch, in the image's environment;
prints how far they are apart, and what else came of it, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rag import embedding
from rag.documents import (
    Batch,
    Chunk,
    Document,
    EmbeddedDocument,
    IndexSpec,
    Vectors,
    id_of,
)
from rag.embedding import wordpieces
from rag.embedding.fingerprint import spec_of
from rag.embedding.recipe import Recipe
from rag.embedding.settings import EmbeddingSettings
from rag.protocols import Embedder
from rag.storage.settings import StorageSettings
from rag.storage.store import LocalStore
from serving import machine

HEAVY = ("torch", "transformers", "sentence_transformers")
TEXTS = [
    "",
    " \n\t ",
    "a",
    "The quick brown fox.",
    "É, ß, İ, ﬁ and 日本語 mixed with 😀 and \u200b\u0301.",
    "[CLS] [MASK] [SEP] are words of the text here",
    "supercalifragilistic" * 9,
    *("word " * count for count in (5, 60, 254, 255, 3000)),
    *(f"Sentence {at} " + "and more of it " * at for at in range(1, 40, 4)),
]
FEW = [*TEXTS[:6], TEXTS[9], "word " * 600]
MODES = ("cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
POOLING = "1_Pooling/config.json"
SAID = "config_sentence_transformers.json"
BERT = "sentence_bert_config.json"
VARIANTS: dict[str, dict[str, Any]] = {
    **{mode: {POOLING: {"embedding_dimension": 384, "pooling_mode": mode}} for mode in MODES},
    "older words, joined": {
        POOLING: {
            "word_embedding_dimension": 384,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_cls_token": True,
            "pooling_mode_max_tokens": True,
        }
    },
    "prompts": {SAID: {"prompts": {"query": "query: ", "document": "passage: "}}},
    "a prompt for passages": {
        SAID: {"prompts": {"passage": "p: "}, "default_prompt_name": "passage"}
    },
    "the tokenizer's limit": {BERT: {"do_lower_case": True}},
}


async def embedded(
    folder: Path, backend: Any, texts: list[str]
) -> tuple[Vectors, Vectors, IndexSpec, Embedder]:
    """Documents, then queries."""
    settings = EmbeddingSettings(model_id=str(folder), backend=backend, batch_tokens=4096)
    embedder = await embedding.load(settings)
    documents = await embedder.embed_documents(texts)
    queries = np.stack([await embedder.embed_query(each) for each in texts])
    return documents, queries, await spec_of(embedder), embedder


async def apart(folder: Path) -> dict[str, Any]:
    found = {}
    for backend in ("onnx", "torch"):
        *vectors, _, embedder = await embedded(folder, backend, FEW)
        found[backend] = (*vectors, embedder.max_tokens)
        await embedder.close()
    (documents, queries, limit), (others, asked, other) = found["onnx"], found["torch"]
    return {
        "apart": float(max(abs(documents - others).max(), abs(queries - asked).max())),
        "prompted": float(abs(documents - queries).max()),
        "limits": [limit, other],
    }


def variants(folder: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """The same weights with other files around them."""
    for name, changed in VARIANTS.items():
        place = scratch / name.replace(" ", "-")
        for file in folder.rglob("*"):
            path = place / file.relative_to(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.is_file() and str(file.relative_to(folder)) not in changed:
                path.symlink_to(file)
        for file_name, content in changed.items():
            (place / file_name).write_text(json.dumps(content))
        yield name, place


def priorities(before: set[str]) -> list[int]:
    """Of the threads that were started since."""
    threads = sorted(set(os.listdir("/proc/self/task")) - before)
    stats = [Path(f"/proc/self/task/{each}/stat").read_text() for each in threads]
    return [int(each.rpartition(")")[2].split()[16]) for each in stats]


def reopened(place: Path, made: IndexSpec, opened: IndexSpec, vectors: Vectors) -> list[str]:
    """The texts that are embedded anew where the one embedder opens an index of the other."""
    settings = StorageSettings(directory=place)
    anew: list[str] = []

    def embed(texts: Sequence[str]) -> Vectors:
        anew.extend(texts)
        return np.ones((len(texts), vectors.shape[1]), np.float32) / vectors.shape[1] ** 0.5

    store = LocalStore.open(settings, made, embed)
    chunks = [Chunk(id_of(text), 0, 0, len(text), text, id_of(text)) for text in TEXTS[2:5]]
    put = [
        EmbeddedDocument(Document(each.node_id, each.text), (each,), vector[None])
        for each, vector in zip(chunks, vectors[2:5], strict=True)
    ]
    store.create("index", made).apply(Batch(put=tuple(put)))
    store.close()
    store = LocalStore.open(settings, opened, embed)
    assert store.names() == ["index"], store.problems
    store.close()
    return anew


def _turned(spec: IndexSpec) -> IndexSpec:
    """Of a model that says the opposite."""
    return replace(spec, fingerprint=tuple(-each for each in spec.fingerprint))


def tokenizers(scratch: Path, folder: Path) -> dict[str, bool]:
    """Whether those of other classes make the same tokens with and without transformers."""
    import transformers

    words = (folder / "vocab.txt").read_text().splitlines()
    found = {}
    for name in ("BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer"):
        first = ["<s>", "<pad>", "</s>", "<mask>"] if name.startswith("MPNet") else []
        vocabulary = {word: at for at, word in enumerate([*first, *words])}
        place = scratch / name
        getattr(transformers, name)(vocab=vocabulary).save_pretrained(place)
        ours = wordpieces.load(place, Recipe(("mean",), 64, False, "", ""))
        theirs = transformers.AutoTokenizer.from_pretrained(place)
        said = theirs(TEXTS, padding=True, truncation="longest_first", max_length=64)
        encoded = ours.encode_batch_fast(TEXTS)
        found[name] = [each.ids for each in encoded] == said["input_ids"] and [
            each.attention_mask for each in encoded
        ] == said["attention_mask"]
    return found


async def report(folder: Path, scratch: Path) -> dict[str, Any]:
    before = set(os.listdir("/proc/self/task"))
    documents, queries, by_onnx, embedder = await embedded(folder, "auto", TEXTS)
    found: dict[str, Any] = {
        "imported": [name for name in HEAVY if name in sys.modules],
        "priorities": priorities(before),
        "cpus": machine.cpus(),
        "alone": float(abs(documents - queries).max()),
    }
    await embedder.close()
    others, _, by_torch, embedder = await embedded(folder, "torch", TEXTS)
    await embedder.close()
    found["torch"] = [name for name in HEAVY if name in sys.modules]
    found["apart"] = float(abs(documents - others).max())
    found["anew"] = {
        "torch's by onnx": reopened(scratch / "there", by_torch, by_onnx, others),
        "onnx's by torch": reopened(scratch / "back", by_onnx, by_torch, documents),
        "of another": reopened(scratch / "another", _turned(by_torch), by_onnx, others),
    }
    found["variants"] = {name: await apart(place) for name, place in variants(folder, scratch)}
    found["tokenizers"] = tokenizers(scratch, folder)
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(report(Path(sys.argv[1]), Path(sys.argv[2])))))
