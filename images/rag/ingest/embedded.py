"""What of a chunk is embedded: the document's title and the headings above it, then its text.

Other metadata (paths, times, ids) is for filters. In a vector it is noise, and a change of it would
embed everything anew; KAITO's service embeds all of it. Pure, and told by document and chunk alone:
who embeds an index anew needs nothing else.
"""

from __future__ import annotations

from rag.documents import Chunk, Document
from rag.ingest.outline import outline

TITLE = "title"
"""The metadata that says what a text is about."""
MOST_ABOVE = 240
"""Bytes of title and headings, so that they leave room for the text."""


def embedded_text(document: Document, chunk: Chunk) -> str:
    """Equal where `Chunk.embedded_hash` is."""
    return f"{text_above(document, chunk.start)}{chunk.text}"


def text_above(document: Document, position: int) -> str:
    """What is set before a chunk that begins there; of -1, which is not known, no headings."""
    title = document.metadata.get(TITLE)
    above = [" ".join(title.split())] if isinstance(title, str) and title.strip() else []
    if document.metadata.get("split_type") == "markdown":
        above += outline(document.text).above(position)
    if not above:
        return ""
    words = " / ".join(above).encode("utf-8", "replace")[:MOST_ABOVE].decode("utf-8", "ignore")
    return f"{words}\n\n"
