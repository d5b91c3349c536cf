"""Which files hold the data: by the ends of their names, all of them, in any directory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tuning.config import DatasetOptions
from tuning.data.formats import FORMATS
from tuning.failures import DataError

VOLUMES = Path("/mnt")
"""KAITO takes DatasetConfig.dataset_path from here."""

_ZIPPED = ".gz"
_ABOUT = frozenset({"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"})
"""What the datasets library writes beside the data."""
_TRAIN = frozenset({"train", "training"})
_VALIDATION = frozenset({"validation", "valid", "val", "dev", "eval"})
_TEST = frozenset({"test", "testing"})


@dataclass(frozen=True, slots=True)
class File:
    """`format` is csv, tsv, json, jsonl, parquet or arrow."""

    path: Path
    name: str
    """As users know it: from the data's directory on."""
    format: str


@dataclass(frozen=True, slots=True)
class Files:
    """Those to train with, and those that are ready-made to evaluate with."""

    train: tuple[File, ...]
    held_out: tuple[File, ...] = ()
    left: tuple[str, ...] = ()
    """Names of a test set beside a validation set: nothing is done with it."""


def format_of(name: str) -> str:
    """Its format; empty where the end of the name is none that can be read."""
    path = PurePosixPath(name.lower())
    if path.name in _ABOUT:
        return ""
    suffix = PurePosixPath(path.stem).suffix if path.suffix == _ZIPPED else path.suffix
    found = FORMATS.get(suffix.removeprefix("."), "")
    return "" if path.suffix == _ZIPPED and found in ("parquet", "arrow") else found


def find(folder: Path, options: DatasetOptions) -> Files:
    """DataError where there are none; it names what there is instead."""
    root = _root(folder, options.path)
    paths = [root] if root.is_file() else sorted(_visible(root))
    wanted = FORMATS.get(options.extension, "")
    found = [File(each, _name(each, folder), format_of(each.name)) for each in paths]
    known = [each for each in found if each.format and wanted in ("", each.format)]
    if not known and wanted:
        known = [File(each.path, each.name, wanted) for each in found if not each.format]
    if not known:
        raise DataError(_nothing(root, options.extension, [each.name for each in found]))
    return _sorted(known)


def below(name: str, path: str) -> bool:
    """Whether a file of a repository is what dataset_path names, or lies below it."""
    wanted = PurePosixPath(path.strip("/"))
    return not path or wanted == PurePosixPath(name) or wanted in PurePosixPath(name).parents


def roles(names: Iterable[str]) -> set[str]:
    """train, validation and test, as far as the words of the names say so."""
    words = {word for name in names for word in re.split(r"[^a-z]+", name.lower())}
    said = {"train": _TRAIN, "validation": _VALIDATION, "test": _TEST}
    return {role for role, meant in said.items() if words & meant}


def _sorted(found: list[File]) -> Files:
    """Ready-made only beside something to train with: a lone test.jsonl is the data."""
    by_role: dict[str, list[File]] = {"train": [], "validation": [], "test": []}
    for each in found:
        words = roles([PurePosixPath(each.name).stem]) or roles(PurePosixPath(each.name).parts)
        by_role[next(iter(words)) if len(words) == 1 else "train"].append(each)
    if not by_role["train"]:
        return Files(tuple(found))
    held_out = by_role["validation"] or by_role["test"]
    left = by_role["test"] if by_role["validation"] else []
    return Files(tuple(by_role["train"]), tuple(held_out), tuple(each.name for each in left))


def _root(folder: Path, path: str) -> Path:
    if not path:
        if folder.is_dir():
            return folder
        raise DataError(f"{folder} is no directory: there is no data")
    places = [folder / path.lstrip("/"), VOLUMES / path.lstrip("/"), Path("/") / path.lstrip("/")]
    for place in places:
        resolved = place.resolve()
        allowed = (folder.resolve(), VOLUMES.resolve())
        if any(resolved.is_relative_to(each) for each in allowed) and place.exists():
            return place
    raise DataError(
        f'training_config.DatasetConfig.dataset_path "{path}" is not in {folder}: give a path from'
        " there, or leave it out"
    )


def _visible(root: Path) -> Iterable[Path]:
    """Without what starts with a dot: downloads on their way, and what a mount keeps to itself."""
    for path in root.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if not hidden and path.is_file():
            yield path


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _nothing(root: Path, extension: str, names: list[str]) -> str:
    there = f"it holds {', '.join(names[:5])}" if names else "it is empty"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    wanted = f".{extension}" if extension else ", ".join(f".{each}" for each in FORMATS)
    return (
        f"{root} holds no file that ends in {wanted} (or .gz after one of text): {there}{more};"
        " for another name set training_config.DatasetConfig.dataset_extension"
    )
