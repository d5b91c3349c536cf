"""A file's rows in their one form, on disk, with their digest."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tuning.data.messages import BadRowError

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "messages": ("messages", "tools"),
    "prompt-completion": ("prompt", "completion"),
    "text": ("text",),
}
"""By kind; TRL's names."""

_BATCH_BYTES = 4 << 20
"""About so much of a row group is in memory at once; at most 1000 rows."""


@dataclass(frozen=True, slots=True)
class Written:
    """What is in a finished file of Arrow; there is none where `rows` is 0."""

    file: str
    held_out: bool
    kind: str
    turns: bool
    """Whether the columns hold messages, and not texts."""
    digest: str
    rows: int
    empty: int
    first_empty: str

    @property
    def shown(self) -> str:
        """For users."""
        chat = self.turns and self.kind != "messages"
        return f"{self.kind} of messages" if chat else self.kind


class Shard:
    """Written row by row while the block runs."""

    def __init__(self, place: Path, kind: str) -> None:
        self._place, self._kind = place, kind
        self._partial = place / f"{uuid.uuid4().hex}.partial"
        self._writer: Any = None
        self._turns = kind == "messages"
        self._digest, self._rows, self._empty, self._first_empty = hashlib.sha256(), 0, 0, ""
        self._waiting = 0

    def add(self, row: Mapping[str, Any] | None, where: str) -> None:
        """None is an empty row, which is counted. BadRowError where it does not fit the others."""
        if row is None:
            self._empty, self._first_empty = self._empty + 1, self._first_empty or where
            return
        text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        try:
            self._digest.update(f"{text}\n".encode())
        except UnicodeEncodeError as error:
            raise BadRowError("it holds half of a character (a lone surrogate)") from error
        turns = not all(isinstance(value, str) for value in row.values())
        if self._writer is None:
            self._open(turns)
        elif turns != self._turns:
            raise BadRowError("it has texts where other rows have messages, or the reverse")
        self._writer.write({name: self._cell(row.get(name)) for name in COLUMNS[self._kind]})
        self._rows += 1
        self._waiting += len(text)
        if self._waiting > _BATCH_BYTES:
            self._writer.write_examples_on_file()
            self._waiting = 0

    def finished(self, *, held_out: bool) -> Written:
        """After the block."""
        name = f"{self._digest.hexdigest()}.arrow"
        if self._rows:
            os.replace(self._partial, self._place / name)
        return Written(
            file=name,
            held_out=held_out,
            kind=self._kind,
            turns=self._turns,
            digest=self._digest.hexdigest(),
            rows=self._rows,
            empty=self._empty,
            first_empty=self._first_empty,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is None:
            return
        if error is None:
            self._writer.finalize()
        self._writer.close()
        if error is not None:
            self._partial.unlink(missing_ok=True)

    def _open(self, turns: bool) -> None:
        """Json keeps each message's own keys, where Arrow would give all of them the same."""
        from datasets import Features, Json, Value
        from datasets.arrow_writer import ArrowWriter

        self._turns = turns
        column = Json() if turns else Value("string")
        features = Features({name: column for name in COLUMNS[self._kind]})
        self._writer = ArrowWriter(path=str(self._partial), features=features)

    def _cell(self, value: Any) -> Any:
        """Json takes a text that is JSON as it is."""
        if value is None or not self._turns:
            return value
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
