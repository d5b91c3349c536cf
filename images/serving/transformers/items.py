"""The output of /v1/responses, item by item, and the events that tell of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from serving.transformers.dialogue import Call

Events = list[tuple[str, dict[str, Any]]]


class Items:
    """What was thought, said and called, in this order. Each method answers with events."""

    def __init__(self) -> None:
        self._done: list[dict[str, Any]] = []
        self._kind = ""
        self._id = ""
        self._text = ""

    def documents(self) -> list[dict[str, Any]]:
        """All items; the one that is open is closed by it."""
        self.close()
        return self._done

    def think(self, text: str) -> Events:
        return self._add("reasoning", text)

    def say(self, text: str) -> Events:
        return self._add("message", text)

    def call(self, calls: Sequence[Call]) -> Events:
        found = self.close() if calls else []
        for call in calls:
            item = {
                "id": f"fc_{uuid.uuid4().hex}",
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
                "status": "completed",
            }
            place = {"output_index": len(self._done), "item_id": item["id"]}
            said = "response.function_call_arguments"
            found += [
                self._item("added", {**item, "arguments": "", "status": "in_progress"}),
                (f"{said}.delta", {**place, "delta": call.arguments}),
                (f"{said}.done", {**place, "arguments": call.arguments}),
                self._item("done", item),
            ]
            self._done.append(item)
        return found

    def close(self) -> Events:
        """The open item is complete."""
        if not self._kind:
            return []
        item, place, part = self._open(), self._place(), self._part()
        said = self._event()
        found = [
            (f"{said}.done", {**place, "text": self._text, **self._quiet()}),
            ("response.content_part.done", {**place, "part": part}),
            self._item("done", item),
        ]
        self._done.append(item)
        self._kind, self._text = "", ""
        return found

    def _add(self, kind: str, text: str) -> Events:
        if not text:
            return []
        found: Events = []
        if self._kind != kind:
            found += self.close()
            self._kind = kind
            self._id = f"{'msg' if kind == 'message' else 'rs'}_{uuid.uuid4().hex}"
            empty = {**self._open(), "status": "in_progress", "content": []}
            found.append(self._item("added", empty))
            found.append(("response.content_part.added", {**self._place(), "part": self._part()}))
        self._text += text
        more = {**self._place(), "delta": text, **self._quiet()}
        found.append((f"{self._event()}.delta", more))
        return found

    def _event(self) -> str:
        kind = "output_text" if self._kind == "message" else "reasoning_text"
        return f"response.{kind}"

    def _quiet(self) -> dict[str, Any]:
        """Clients expect the field of a text."""
        return {"logprobs": []} if self._kind == "message" else {}

    def _part(self) -> dict[str, Any]:
        if self._kind == "message":
            return {"type": "output_text", "text": self._text, "annotations": []}
        return {"type": "reasoning_text", "text": self._text}

    def _open(self) -> dict[str, Any]:
        item = {"id": self._id, "type": self._kind, "status": "completed"}
        if self._kind == "message":
            return {**item, "role": "assistant", "content": [self._part()]}
        return {**item, "summary": [], "content": [self._part()]}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": len(self._done), "content_index": 0}

    def _item(self, what: str, item: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return f"response.output_item.{what}", {"output_index": len(self._done), "item": item}
