"""The index itself: one reference to a generation, which readers take and writers replace."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rag.documents import Batch, EmbeddedDocument, Hit, Query, Vectors
from rag.errors import EmbedderError
from rag.memory.analysis import Analyzer
from rag.memory.generation import Generation
from rag.memory.search import Search
from rag.memory.segment import Segment

Packed = Sequence[Sequence[bytes]]
"""`Analyzer.pack` of each chunk, by document."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch that is ready to be seen."""

    gone: tuple[str, ...]
    """What it deletes or replaces."""
    added: Segment | None


class MemoryIndex:
    """Any number of readers beside one writer. A reader takes the generation that is there and
    keeps it; nobody waits for anybody but a writer for a writer."""

    def __init__(self, dimension: int, analyzer: Analyzer | None = None) -> None:
        self._dimension = dimension
        self._analyzer = analyzer or Analyzer()
        self._generation = Generation()
        self._writing = threading.Lock()

    def pack(self, batch: Batch) -> list[list[bytes]]:
        """What `prepare` would look at the texts for; to be kept beside the chunks."""
        return [[self._analyzer.pack(chunk.text) for chunk in each.chunks] for each in batch.put]

    def prepare(self, batch: Batch, packed: Packed | None = None) -> Prepared:
        """All that takes time or can fail; changes nothing. Raises EmbedderError."""
        # The last one of an id is the one that counts.
        last = {each.document.doc_id: at for at, each in enumerate(batch.put)}
        kept = sorted(last.values())
        documents = [self._checked(batch.put[at]) for at in kept]
        gone = tuple({**dict.fromkeys(batch.delete), **dict.fromkeys(last)})
        if not documents:
            return Prepared(gone, None)
        if packed is None:
            packed = self.pack(batch)
        chunks = [chunk for at in kept for chunk in packed[at]]
        return Prepared(gone, Segment.of(documents, chunks))

    def commit(self, prepared: Prepared) -> None:
        """Readers see all of it from now on; then what is small or dead is merged."""
        with self._writing:
            self._generation = self._generation.changed(prepared.gone, prepared.added)
            self._generation = self._generation.tidied()

    def apply(self, batch: Batch, packed: Packed | None = None) -> None:
        self.commit(self.prepare(batch, packed))

    def search(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """For each query its hits, best first; all of one generation, and of now. Raises
        EmbedderError before the first."""
        for query in queries:
            if query.vector is not None:
                self._check(query.vector, (self._dimension,))
        return Search(self._generation, self._analyzer).run(queries)

    def count(self) -> tuple[int, int]:
        """Documents and chunks."""
        generation = self._generation
        return generation.documents, generation.chunks

    def doc_ids(self) -> list[str]:
        return [each for part in self._generation.parts for each in part.doc_ids()]

    @property
    def nbytes(self) -> int:
        return sum(part.segment.nbytes for part in self._generation.parts)

    def _checked(self, embedded: EmbeddedDocument) -> EmbeddedDocument:
        self._check(embedded.vectors, (len(embedded.chunks), self._dimension))
        return embedded

    def _check(self, vectors: Vectors, shape: tuple[int, ...]) -> None:
        if vectors.shape != shape:
            found = "x".join(map(str, vectors.shape))
            raise EmbedderError(
                f"The embedder gave vectors of shape {found}; "
                f"the index takes {'x'.join(map(str, shape))}."
            )
        if not np.isfinite(vectors).all():
            raise EmbedderError("The embedder gave a vector that is not finite.")
