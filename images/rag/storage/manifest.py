"""What a snapshot says of itself, and whether it is true: metadata.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rag.documents import IndexSpec
from rag.errors import BadRequestError

METADATA = "metadata.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    name: str
    """The index's."""
    time: str
    uid: str
    seq: int
    spec: IndexSpec
    documents: int
    chunks: int
    file: str
    size: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_file(self) -> bytes:
        """What `read` reads."""
        return json.dumps({"format": _FORMAT, **self.as_json()}, indent=1).encode()

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Snapshot:
        """Raises BadRequestError."""
        try:
            spec = value["spec"]
            made_with = IndexSpec(spec["model"], spec["dimension"], tuple(spec["fingerprint"]))
            if Path(value["file"]).name != value["file"]:
                raise ValueError(f"'{value['file']}' is no file of this folder")
            return cls(**{**value, "spec": made_with})
        except (KeyError, TypeError, ValueError) as error:
            raise BadRequestError(f"{METADATA} of the snapshot cannot be read: {error}") from error


def read(folder: Path) -> Snapshot:
    """What a snapshot says of itself. Raises BadRequestError."""
    try:
        value = json.loads((folder / METADATA).read_bytes())
    except FileNotFoundError:
        raise BadRequestError(f"{folder} is no snapshot: it has no {METADATA}") from None
    except (OSError, ValueError) as error:
        raise BadRequestError(f"{folder / METADATA} cannot be read: {error}") from error
    version = value.pop("format", None) if isinstance(value, dict) else None
    if version != _FORMAT:
        raise BadRequestError(f"{folder} has format {version}; this release reads format {_FORMAT}")
    return Snapshot.of_json(value)


def verify(file: Path, snapshot: Snapshot) -> None:
    try:
        size = file.stat().st_size
        same = size == snapshot.size and sum_of(file) == snapshot.sha256
    except OSError as error:
        raise BadRequestError(f"{file} cannot be read: {error.strerror}") from error
    if not same:
        raise BadRequestError(
            f"{file} is not what was written: wrong checksum, or {size} bytes in place of "
            f"{snapshot.size}. Take another snapshot"
        )


def sum_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
