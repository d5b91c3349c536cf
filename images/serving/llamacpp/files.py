"""What lies on disk: the model's file, and the adapters beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.llamacpp.arguments import UsageError

_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in GGUF, applied to every request with that strength."""

    name: str
    path: Path
    strength: float = 1.0


def model_file(path: Path) -> Path:
    """The GGUF file that `path` is or holds: model.gguf, else the only one, else the first part.

    UsageError says what is missing.
    """
    if path.is_dir():
        path = _in_directory(path)
    elif not path.exists():
        raise UsageError(f"the model {path} does not exist: is the volume with the weights there?")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UsageError(f"the model {path} is not a GGUF file")
    return path


def _in_directory(directory: Path) -> Path:
    usual = directory / "model.gguf"
    if usual.is_file():
        return usual
    files = sorted(directory.glob("*.gguf"))
    first_parts = [file for file in files if "-00001-of-" in file.name]
    candidates = first_parts or files
    if not candidates:
        raise UsageError(f"the directory {directory} has no .gguf file")
    if len(candidates) > 1:
        names = ", ".join(file.name for file in candidates)
        raise UsageError(f"the directory {directory} has several models ({names}): name one")
    return candidates[0]


def adapters(directory: Path, strengths: Mapping[str, str]) -> list[Adapter]:
    """One adapter a subdirectory, named after it. No directory, no adapters.

    `strengths` has texts under the adapters' names: the controller sends them as variables.
    """
    if not directory.is_dir():
        return []
    folders = sorted(item for item in directory.iterdir() if item.is_dir())
    return [_adapter(folder, strengths.get(folder.name, "")) for folder in folders]


def _adapter(folder: Path, strength: str) -> Adapter:
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise UsageError(
            f"the adapter {folder.name} needs one .gguf file and has {len(files)}: "
            "llama.cpp takes adapters that convert_lora_to_gguf.py has converted"
        )
    try:
        return Adapter(folder.name, files[0], float(strength or 1.0))
    except ValueError:
        raise UsageError(
            f"the strength {strength!r} of the adapter {folder.name} is no number"
        ) from None
