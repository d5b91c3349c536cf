"""What KAITO's own service persisted: llama-index's docstore.json, whose nodes are chunks.

The vectors there are of a model that nobody wrote down, so the texts are embedded anew. A document
is put together from its chunks, where these say where they lay, or else one after another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from rag.documents import Chunk, Document
from rag.errors import BadRequestError

DOCSTORE = "docstore.json"
_BLANKS = 8
"""That may be missing between two chunks."""
_Node: TypeAlias = Any
"""llama-index's TextNode; its types come with two seconds of imports."""


def read(
    folder: Path, embedded_text: Callable[[Document, Chunk], str]
) -> list[tuple[Document, tuple[Chunk, ...]]]:
    """In their order there. Raises BadRequestError."""
    from llama_index.core.storage.docstore import SimpleDocumentStore

    try:
        stored = SimpleDocumentStore.from_dict(json.loads((folder / DOCSTORE).read_bytes()))
        nodes = list(stored.docs.values())
        by_document: dict[str, list[_Node]] = {}
        for node in nodes:
            by_document.setdefault(_document_of(node), []).append(node)
        return [_document(name, found, embedded_text) for name, found in by_document.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequestError(f"{folder / DOCSTORE} cannot be read: {error!r}") from error


def _document_of(node: _Node) -> str:
    return str(node.ref_doc_id or node.node_id)


def _document(
    doc_id: str, nodes: list[_Node], embedded_text: Callable[[Document, Chunk], str]
) -> tuple[Document, tuple[Chunk, ...]]:
    text, places = _whole(nodes)
    document = Document(doc_id, text, nodes[0].metadata)
    chunks = []
    for position, (start, end) in enumerate(places):
        chunk = Chunk("", position, start, end, text[start:end], "")
        embedded = hashlib.sha256(embedded_text(document, chunk).encode()).hexdigest()
        node_id = hashlib.sha256(f"{doc_id}\n{position}\n{chunk.text}".encode()).hexdigest()
        chunks.append(Chunk(node_id, position, start, end, chunk.text, embedded))
    return document, tuple(chunks)


def _whole(nodes: list[_Node]) -> tuple[str, list[tuple[int, int]]]:
    """The document's text, and where each chunk lies in it."""
    placed = list(_placed(nodes))
    if len(placed) == len(nodes) and _joined(placed):
        placed.sort()
        text = ""
        for start, _, part in placed:
            text += " " * (start - len(text))  # the splitter drops blanks between chunks
            text += part[len(text) - start :]
        return text, [(start, end) for start, end, _ in placed]
    places, text = [], ""
    for node in nodes:
        text += "\n\n" if text else ""
        places.append((len(text), len(text) + len(node.text)))
        text += node.text
    return text, places


def _placed(nodes: list[_Node]) -> Iterator[tuple[int, int, str]]:
    for node in nodes:
        start, end = node.start_char_idx, node.end_char_idx
        if start is not None and end is not None and end - start == len(node.text):
            yield start, end, node.text


def _joined(placed: list[tuple[int, int, str]]) -> bool:
    """Whether they cover a text from its beginning, and agree where they overlap."""
    inorder = sorted(placed)
    if inorder[0][0] > _BLANKS:
        return False
    for (start, end, text), (after, after_end, following) in pairwise(inorder):
        overlap = end - after
        agree = text[after - start :] == following[:overlap] if overlap > 0 else True
        if overlap < -_BLANKS or after_end < end or not agree:
            return False
    return True
