"""Checkpoints on a disk: which of them are whole, and which belong to this work.

The Trainer writes the files; the last is ours, with the others' digests. A directory without it
was being written when the process died.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MARKER = "kaito_checkpoint.json"
_PREFIX = "checkpoint-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What the marker says."""

    path: Path
    step: int
    identity: str
    eval_loss_before: float | None
    seconds: float
    """Trained until then, in all pods."""


def identity(**ingredients: Any) -> str:
    """A digest of all that a checkpoint depends on: config, data, base model, processes."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True, default=str).encode()).hexdigest()


def seal(checkpoint: Checkpoint) -> None:
    """Make it whole: its marker is written last, in one step."""
    path = checkpoint.path
    files = {
        str(each.relative_to(path)): _sha256(each)
        for each in sorted(path.rglob("*"))
        if each.is_file() and each.name != MARKER
    }
    said = {**asdict(checkpoint), "path": path.name, "files": files}
    partial = path / f".{MARKER}"
    with partial.open("w") as file:
        json.dump(said, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path / MARKER)


def latest(root: Path, identity: str, say: Callable[[str], None]) -> Checkpoint | None:
    """The last whole one of this work. What is broken, or of other work, is told and deleted:
    nothing would ever read it, and a disk is finite."""
    found = None
    for path in sorted(root.glob(f"{_PREFIX}*"), key=_step, reverse=True):
        if found is not None:
            continue
        try:
            checkpoint = read(path)
        except ValueError as error:
            say(f"{path.name} is not used: {error}")
            shutil.rmtree(path)
            continue
        if checkpoint.identity != identity:
            say(
                f"{path.name} is not used: it is of another config, other data,"
                " another base model or another number of processes"
            )
            shutil.rmtree(path)
            continue
        found = checkpoint
    return found


def read(path: Path) -> Checkpoint:
    """ValueError, with a reason, where it is not whole."""
    try:
        said = json.loads((path / MARKER).read_text())
        files: Mapping[str, str] = said["files"]
        checkpoint = Checkpoint(
            path=path,
            step=int(said["step"]),
            identity=str(said["identity"]),
            eval_loss_before=said["eval_loss_before"],
            seconds=float(said["seconds"]),
        )
    except FileNotFoundError:
        raise ValueError("the process ended while it was written") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"its {MARKER} cannot be read") from error
    for name, digest in files.items():
        if not (path / name).is_file() or _sha256(path / name) != digest:
            raise ValueError(f"{name} is damaged")
    return checkpoint


def directory(root: Path, step: int) -> Path:
    """As the Trainer names it."""
    return root / f"{_PREFIX}{step}"


def _step(path: Path) -> int:
    number = path.name.removeprefix(_PREFIX)
    return int(number) if number.isdecimal() else -1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
