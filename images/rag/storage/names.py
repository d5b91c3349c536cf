"""Index names, and the file names that stand for them.

A name may hold whatever a segment of a URL's path can; a file name must survive every file system,
those that ignore case too. So plain names stay as they are, others become a readable part and a
hash. A file's name has the generation besides, and a random part: a new file of an index never
meets the write-ahead log of an old one, and of two files of one index the later is the index.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from rag.errors import InvalidError

MAX_LENGTH = 253
_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
_FILE = re.compile(r"(?P<stem>.+)\.(?P<generation>[0-9]{8,})-(?P<random>[0-9a-f]{8})\.db")


def validate(name: str, *field: str | int) -> None:
    """Raises InvalidError naming the field; ("body", "index_name") where none is given."""
    if problem := _problem(name):
        raise InvalidError(f"Index name {problem}", *(field or ("body", "index_name")))


def _problem(name: str) -> str:
    if not 1 <= len(name) <= MAX_LENGTH:
        return f"must have 1 to {MAX_LENGTH} characters"
    if "/" in name:
        return "must not contain '/'"
    if name in (".", ".."):
        return f"must not be '{name}'"
    if any(unicodedata.category(each) in ("Cc", "Cs") for each in name):
        return "must not contain control characters"
    return ""


def stem(name: str) -> str:
    """What files and folders of the index begin with."""
    if _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-")
    return f"{readable or 'index'}~{hashlib.sha256(name.encode()).hexdigest()[:20]}"


@dataclass(frozen=True, slots=True, order=True)
class FileName:
    stem: str
    generation: int
    random: str

    def __str__(self) -> str:
        return f"{self.stem}.{self.generation:08d}-{self.random}.db"

    @classmethod
    def parse(cls, text: str) -> FileName | None:
        found = _FILE.fullmatch(text)
        if found is None:
            return None
        return cls(found["stem"], int(found["generation"]), found["random"])

    @classmethod
    def next(cls, stem: str, after: FileName | None) -> FileName:
        generation = 1 if after is None else after.generation + 1
        return cls(stem, generation, secrets.token_hex(4))


def current(entries: Iterable[str]) -> dict[str, FileName]:
    """The newest file of each index, by stem."""
    parsed = sorted(name for each in entries if (name := FileName.parse(each)) is not None)
    return {each.stem: each for each in parsed}


def superseded(entries: Iterable[str]) -> list[str]:
    """What a crash left behind: older files of an index, logs whose file is gone, half-made files.
    Files that were set aside are none of these."""
    found = set(entries)
    newest = {str(each) for each in current(found).values()}
    return sorted(each for each in found if _left_behind(each, newest))


def _left_behind(entry: str, newest: set[str]) -> bool:
    if entry.startswith(".making-"):
        return True
    for suffix in ("", "-wal", "-shm", "-journal"):
        if suffix and not entry.endswith(suffix):
            continue
        of = entry[: len(entry) - len(suffix)]
        if FileName.parse(of) is not None:
            return of not in newest
    return False
