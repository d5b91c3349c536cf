"""How lists and watches lie on the wire, taken apart without decoding the objects in them. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from kube.meta import ObjectMeta

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

Wire = msgspec.Raw | memoryview
"""An object as JSON, still to be decoded."""

_KINDS: tuple[EventType, ...] = ("MODIFIED", "ADDED", "DELETED", "BOOKMARK")
_OPENINGS = tuple((kind, b'{"type":"%s","object":' % kind.encode()) for kind in _KINDS)


class _ListMeta(msgspec.Struct, rename={"resource_version": "resourceVersion"}):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    # Go's nil slice is null on the wire.
    items: list[msgspec.Raw] | None = None


class _Line(msgspec.Struct):
    type: EventType | Literal["ERROR"]
    object: msgspec.Raw


class Head(msgspec.Struct):
    """All that is known of an object whose kind does not matter, or whose rest is unreadable."""

    metadata: ObjectMeta = ObjectMeta()


decode_page = msgspec.json.Decoder(Page).decode
_decode_line = msgspec.json.Decoder(_Line).decode
decode_head = msgspec.json.Decoder(Head).decode


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines of a stream, however long (aiohttp's own reader stops at 4 MiB). A last line without
    its end is dropped: the stream broke in it, and whoever resumes gets it again."""
    pieces: list[bytes] = []
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        if whole and pieces:
            whole[0] = b"".join([*pieces, whole[0]])
            pieces = []
        for line in whole:
            if line:
                yield line
        if rest:
            pieces.append(rest)


def split(line: bytes) -> tuple[EventType | Literal["ERROR"], Wire]:
    """What happened, and the object undecoded.

    kube-apiserver always writes `{"type":"…","object":…}`. To cut there saves a whole pass over
    the object, half of what an event costs; any other spelling goes through the parser.
    """
    for kind, opening in _OPENINGS:
        if line.startswith(opening) and line.endswith(b"}"):
            return kind, memoryview(line)[len(opening) : -1]
    event = _decode_line(line)
    return event.type, event.object
