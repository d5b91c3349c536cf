"""What the benchmark of retrieval claims, of a smaller set: our own pages. A question is a sentence
that was taken out of the passage which it is looked for in."""

from __future__ import annotations

import asyncio
import math
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import numpy as np
import pytest
from rag.documents import id_of

from localcluster import paths
from localcluster.models import Models
from tests.engines.conftest import Engine
from tests.integration.rag.rag_server_process import ROOT, Process

pytestmark = pytest.mark.timeout(300)
LOCK = "images/rag/requirements-cpu.lock"
PASSAGES, QUESTIONS, TOP = 600, 240, 10
_SLACK = 0.01
"""Of nDCG: of 240 questions one that moves by a few places moves the mean by less than that, and
another build of ONNX Runtime may move one."""
_LONGEST = 500
"""Characters, so that each is one chunk."""
_AT_ONCE = 100
"""Documents in a request: a busy machine embeds so many well within a client's patience."""
_SENTENCE = re.compile(r"(?<=[.;:])\s+")


@dataclass(frozen=True, slots=True)
class Labelled:
    passages: list[str]
    questions: list[str]
    """The n-th asks for the n-th passage."""


def labelled() -> Labelled:
    found: dict[str, str] = {}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for paragraph in re.split(r"\n\s*\n|\n(?=[|\-#])", page.read_text()):
            text = " ".join(paragraph.replace("|", " ").split())
            sentences = _SENTENCE.split(text)
            asked = max(sentences, key=len)
            rest = " ".join(each for each in sentences if each is not asked)
            if len(sentences) > 1 and 40 <= len(asked) <= 240 and 80 <= len(rest) <= _LONGEST:
                found[rest] = asked
    passages = Random(600).sample(sorted(found), PASSAGES)
    return Labelled(passages, [found[each] for each in passages[:QUESTIONS]])


@dataclass(frozen=True, slots=True)
class Run:
    """What a process answered."""

    labelled: Labelled
    ranked: dict[str, list[list[str]]]
    """By mode, for each question its best passages' ids."""
    slowest: float
    """Seconds of any answer of /health meanwhile."""
    directory: Path


class Probe:
    """Asks for the health of a process, from its first request to the last."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.taken: list[float] = []

    async def run(self) -> None:
        while True:
            begun = time.perf_counter()
            assert (await self._client.get("/health")).status_code == 200
            self.taken.append(time.perf_counter() - begun)
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def run(
    python_of: Engine,
    image_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    directory = tmp_path_factory.mktemp("rag")
    model = Models(paths.cache_directory(os.environ)).embedder()
    told = {**image_environment, "HOME": str(directory), "LOCAL_EMBEDDING_MODEL_ID": str(model)}
    program = (python_of(LOCK), "-m", "rag")
    return asyncio.run(answered(directory, program, told))


async def answered(directory: Path, program: Sequence[str | Path], told: dict[str, str]) -> Run:
    asked = labelled()
    rag = await Process.start(directory, program, **told)
    try:
        await rag.ready()
        async with httpx.AsyncClient(base_url=rag.client.base_url) as client:
            probe = Probe(client)
            probing = asyncio.create_task(probe.run())
            for name, texts in (("pages", asked.passages), ("questions", asked.questions)):
                for some in _batches(texts, _AT_ONCE):
                    documents = [{"text": each} for each in some]
                    body = {"index_name": name, "documents": documents}
                    answer = await rag.ask("POST /index", body)
                    assert answer.status_code == 200, answer.text
            ranked = {
                mode: [each async for each in ranks(rag, asked.questions, mode)]
                for mode in ("hybrid", "dense", "sparse")
            }
            assert not probing.done(), probing
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        assert await rag.stop() == 0
    finally:
        await rag.close()
    assert len(probe.taken) > 20
    return Run(asked, ranked, max(probe.taken), directory)


async def ranks(rag: Process, questions: Sequence[str], mode: str) -> AsyncIterator[list[str]]:
    for some in _batches(questions, 8):
        bodies = [
            {"index_name": "pages", "query": each, "mode": mode, "max_node_count": TOP}
            for each in some
        ]
        for answer in await asyncio.gather(*(rag.ask("POST /retrieve", each) for each in bodies)):
            assert answer.status_code == 200, answer.text
            yield [each["doc_id"] for each in answer.json()["results"]]


def _batches(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def ndcg(run: Run, mode: str) -> float:
    """At 10, of one right passage each."""
    places = [
        ranked.index(right) if (right := id_of(passage)) in ranked else None
        for passage, ranked in zip(run.labelled.passages, run.ranked[mode], strict=False)
    ]
    gains = [0.0 if place is None else 1 / math.log2(place + 2) for place in places]
    return sum(gains) / len(gains)


def test_both_together_find_no_less_than_the_better_of_them(run: Run) -> None:
    dense, sparse, both = (ndcg(run, mode) for mode in ("dense", "sparse", "hybrid"))
    assert min(dense, sparse) > 0.1, "the questions ask for something"
    assert both >= max(dense, sparse) - _SLACK, (both, dense, sparse)


def test_the_nearest_vectors_are_found(run: Run) -> None:
    """All of them: nothing is approximate. Of equal ones either may be the tenth."""
    passages, questions = (vectors(run.directory, name) for name in ("pages", "questions"))
    ids, matrix = list(passages), np.stack(list(passages.values()))
    shares = []
    for question, ranked in zip(run.labelled.questions, run.ranked["dense"], strict=True):
        best = np.argsort(-(matrix @ questions[id_of(question)]), kind="stable")[:TOP]
        shares.append(len({ids[at] for at in best} & set(ranked)) / TOP)
    assert sum(shares) / len(shares) >= 0.99


def test_health_answers_meanwhile(run: Run) -> None:
    assert run.slowest < 0.5


def vectors(directory: Path, name: str) -> dict[str, np.ndarray]:
    """Of an index's documents, of one chunk each, as its file has them."""
    (file,) = (directory / "data/indexes").glob(f"{name}.*.db")
    with sqlite3.connect(file) as connection:
        rows = connection.execute("SELECT doc_id, vectors FROM documents JOIN chunks USING (doc)")
        found = {doc_id: np.frombuffer(data, "<f4") for doc_id, data in rows}
    assert {len(each) for each in found.values()} == {384}, "a text of several chunks"
    return found
