"""A document in chunks, and what of each is embedded. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from rag.documents import Chunk, Document
from rag.errors import InvalidError
from rag.ingest.caller import Caller
from rag.ingest.embedded import embedded_text, text_above
from rag.ingest.pieces import Cutter, Sizes, Span
from rag.ingest.settings import CHUNK_OVERLAP, CHUNK_TOKENS, IngestSettings
from rag.ingest.tokens import Counter


@dataclass(frozen=True, slots=True)
class Cut:
    """A document in chunks, and the text of each as it is embedded."""

    document: Document
    chunks: tuple[Chunk, ...]
    embedded: tuple[str, ...]


class Chunker:
    """Cuts documents as the settings say, measured by the embedding model's tokenizer."""

    def __init__(self, settings: IngestSettings, counter: Counter) -> None:
        self._counter = counter
        self._cutter = Cutter(sizes(settings, counter.limit), counter)

    def cut(self, document: Document, caller: Caller | None = None) -> Cut:
        """Raises InvalidError where metadata ask for what cannot be done, naming the field;
        GoneError."""
        made: list[tuple[Chunk, str]] = []
        for at, span in enumerate(self._spans(document)):
            if caller is not None:
                caller.check()
            made.append(_chunk(document, at, span))
        return Cut(document, tuple(each[0] for each in made), tuple(each[1] for each in made))

    def _spans(self, document: Document) -> Iterator[Span]:
        kind = document.metadata.get("split_type") or "text"
        above = partial(self._tokens_above, document)
        if kind == "code":
            language = document.metadata.get("language")
            if not isinstance(language, str) or not language:
                raise InvalidError(
                    "split_type code needs metadata.language, as python", "metadata", "language"
                )
            return self._cutter.code(document.text, language.lower(), above)
        if kind == "markdown":
            return self._cutter.markdown(document.text, above)
        if kind == "text":
            return self._cutter.text(document.text, above)
        raise InvalidError(
            f"split_type {kind!r} is not known: text, markdown or code", "metadata", "split_type"
        )

    def _tokens_above(self, document: Document, position: int) -> int:
        above = text_above(document, position)
        return self._counter.count([above])[0] if above else 0


def sizes(settings: IngestSettings, limit: int) -> Sizes:
    """What is asked for, else llama-index's; never more than the model reads, since the vector
    would know nothing of the rest."""
    tokens = settings.chunks.chunk_size or CHUNK_TOKENS
    tokens = min(tokens, limit) if limit else tokens
    overlap = settings.chunks.chunk_overlap
    if overlap < 0:
        overlap = CHUNK_OVERLAP if tokens == CHUNK_TOKENS else tokens // 5
    return Sizes(tokens, min(overlap, tokens // 2), settings.code_max_bytes)


def _chunk(document: Document, position: int, span: Span) -> tuple[Chunk, str]:
    """With what of it is embedded."""
    start, end = span
    bare = Chunk("", position, start, end, document.text[start:end], "")
    embedded = embedded_text(document, bare)
    digest = hashlib.sha256(embedded.encode()).hexdigest()
    node = hashlib.sha256(f"{document.doc_id}\n{position}\n{digest}".encode()).hexdigest()[:32]
    return replace(bare, node_id=node, embedded_hash=digest), embedded
