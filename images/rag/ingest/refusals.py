"""A group of texts into vectors, although the embedder may refuse some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rag.documents import PROBE, Vectors
from rag.errors import RefusedError
from rag.ingest.groups import Lacking
from rag.protocols import Embedder


@dataclass(frozen=True, slots=True)
class Embedded:
    """By `Chunk.embedded_hash`."""

    vectors: Mapping[str, Vectors] = field(default_factory=dict)
    refused: Mapping[str, RefusedError] = field(default_factory=dict)


async def embedded(embedder: Embedder, lacking: Lacking) -> Embedded:
    """What is refused is halved until it is one text. Raises EmbedderError: RefusedError too,
    where the embedder takes not even PROBE, so that no text of these is at fault."""
    texts = dict(zip(lacking.hashes, lacking.texts, strict=True))
    vectors: dict[str, Vectors] = {}
    refused: dict[str, RefusedError] = {}
    waiting, is_tried = [lacking.hashes], False
    while waiting:
        some = waiting.pop()
        try:
            found = await embedder.embed_documents([texts[each] for each in some])
        except RefusedError as error:
            if not is_tried:
                await embedder.embed_documents([PROBE])
                is_tried = True
            if len(some) == 1:
                refused[some[0]] = error
            else:
                half = len(some) // 2
                waiting += [some[half:], some[:half]]
        else:
            vectors.update(zip(some, found, strict=True))
    return Embedded(vectors, refused)
