"""What an answer rests on: the passages that it was given, and those that it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from rag.documents import Hit

_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_NUMBERS: Final = re.compile(r"\[(\d{1,4}(?:\s*[,;–-]\s*\d{1,4})*)\]|【(\d{1,4})[^】\n]{0,40}】")
_ONE: Final = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")


def source_nodes(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Upstream's fields, and where the passage stands; `number` is what the answer cites it by."""
    return [
        {
            "doc_id": hit.doc_id,
            "node_id": hit.node_id,
            "text": hit.text,
            "score": hit.score,
            "metadata": dict(hit.metadata),
            "number": number,
            "position": hit.position,
            "start": hit.start,
            "end": hit.end,
            "dense_score": hit.dense_score,
            "sparse_score": hit.sparse_score,
            "source": hit.source,
        }
        for number, hit in enumerate(hits, 1)
    ]


def cited(text: str, passages: int) -> list[int]:
    """The numbers that `text` names, in the order of their first mention: [1], [1, 3], [2-4],
    【1】. None that no passage has, and none in code, where brackets mean other things."""
    found: dict[int, None] = {}
    for match in _NUMBERS.finditer(_CODE.sub(" ", text)):
        for first, last in _ONE.findall(match[1] or match[2]):
            within = range(max(1, int(first)), min(passages, int(last or first)) + 1)
            found.update(dict.fromkeys(within))
    return list(found)


def extension(hits: Sequence[Hit] | None, text: str) -> dict[str, Any]:
    """What is added to a completion. None: nothing was looked for, and so upstream's null."""
    if hits is None:
        return {"source_nodes": None}
    return {"source_nodes": source_nodes(hits), "citations": cited(text, len(hits))}


def text_of(body: dict[str, Any]) -> str:
    """What the choices of a completion say."""
    messages = [each.get("message") for each in body["choices"] if isinstance(each, dict)]
    contents = [each.get("content") for each in messages if isinstance(each, dict)]
    return "\n".join(each for each in contents if isinstance(each, str))
