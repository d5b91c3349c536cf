"""What lies on disk: the model's file, and the adapters beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apis import container
from serving.llamacpp import gguf, lora
from serving.llamacpp.arguments import UsageError

_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in GGUF, applied with that strength to the requests that name it."""

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


def parts(path: Path) -> list[Path]:
    """All files of the model whose first is `path`."""
    stem, found, end = path.name.partition("-00001-of-")
    return sorted(path.parent.glob(f"{stem}-*-of-{end}")) if found else [path]


def size_gib(path: Path) -> float:
    """Of the model whose first file is `path`."""
    return sum(part.stat().st_size for part in parts(path)) / (1 << 30)


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


def adapters(directory: Path, strengths: Mapping[str, str], model: Path) -> list[Adapter]:
    """One adapter a subdirectory, named after it; no directory, no adapters.

    What PEFT has saved is converted for `model` into a new directory for temporary files. An
    adapter's strength lies beside it, or in `strengths` under its name: the controller sends them
    as variables. UsageError where an adapter cannot be served.
    """
    if not directory.is_dir():
        return []
    folders = (item for item in directory.iterdir() if item.is_dir())
    named = sorted(folder for folder in folders if not folder.name.startswith("."))
    of_peft = [folder for folder in named if not list(folder.glob("*.gguf"))]
    converted = _converted(of_peft, model) if of_peft else {}
    found = []
    for folder in named:
        strength = _strength(folder, strengths.get(folder.name, ""))
        found.append(Adapter(folder.name, converted.get(folder.name) or _only(folder), strength))
    return found


def _converted(folders: Sequence[Path], model: Path) -> dict[str, Path]:
    base = gguf.base(parts(model))
    if base is None:
        raise UsageError(f"the head of the model {model} cannot be read: adapters need it")
    scratch = Path(tempfile.mkdtemp(prefix="adapters-"))
    found = {}
    for folder in folders:
        found[folder.name] = scratch / f"{folder.name}.gguf"
        lora.convert(folder.name, folder, base, found[folder.name])
    return found


def _only(folder: Path) -> Path:
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise UsageError(f"the adapter {folder.name} has {len(files)} .gguf files: leave one")
    return files[0]


def _strength(folder: Path, given: str) -> float:
    path = folder / container.ADAPTER_STRENGTH_FILE
    text = path.read_text().strip() if path.is_file() else given
    try:
        return float(text or 1.0)
    except ValueError:
        raise UsageError(
            f"the strength {text!r} of the adapter {folder.name} is no number"
        ) from None
