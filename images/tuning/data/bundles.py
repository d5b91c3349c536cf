"""Data that is kept together: the /data of an image, or a data set of Hugging Face."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hub import repository as hub
from oci import credentials, files, unpack
from oci.errors import TransferError
from oci.progress import Watch
from oci.reference import Reference
from oci.registry import Registry
from oci.web import Web
from tuning.config import DatasetOptions
from tuning.data.files import below, format_of

SECRET = "name a Secret with the key HF_TOKEN as tuning.preset.presetOptions.modelAccessSecret"  # noqa: S105
"""What to do where a token is needed."""
_WHAT = {"what": "the data", "remedy": "take nodes with a larger disk"}
_DATA = "data"


def image(
    reference: str,
    folder: Path,
    web: Web,
    watch: Watch,
    *,
    secrets: Path,
    insecure: frozenset[str] = frozenset(),
) -> None:
    """What the image has under /data, or the files that an artifact consists of. TransferError."""
    registry = Registry(Reference.parse(reference, insecure), credentials.load(secrets), web)
    scratch = folder / ".image"
    scratch.mkdir(parents=True, exist_ok=True)
    files.pull(registry, scratch, web, watch, **_WHAT)
    titled = {blob.name for blob in files.parts(registry).files}
    source = scratch / _DATA
    if not source.is_dir() and not titled:
        raise TransferError(f"{reference} has no directory /data, where an image keeps data")
    moved = source if source.is_dir() else scratch
    unpack.confine(moved)
    for path in sorted(moved.iterdir()):
        if path.name != ".blobs":
            _replace(path, folder / path.name)
    shutil.rmtree(scratch)


def data_set(
    name: str,
    folder: Path,
    web: Web,
    watch: Watch,
    tell: Callable[[str], None],
    *,
    options: DatasetOptions,
    endpoint: str = "",
    token: str = "",
) -> None:
    """The files of `owner/name` or `owner/name@commit` that can be read, of those that the options
    ask for. TransferError where there are none, or the same data in several formats."""
    repository, _, commit = name.partition("@")
    found = hub.snapshot(
        repository,
        commit or "main",
        web,
        endpoint=(endpoint or hub.ENDPOINT).rstrip("/"),
        token=token,
        remedy=SECRET,
        kind="datasets",
    )
    wanted = chosen(found.files, name, options)
    tell(f"{repository} at {found.commit}: {len(wanted)} files")
    blobs = folder / ".blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    for blob in found.fetch(wanted, blobs, web, watch, **_WHAT):
        target = folder / blob.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.link(blobs / blob.key, target)
    shutil.rmtree(blobs)


def chosen(
    files: list[dict[str, Any]], name: str, options: DatasetOptions
) -> list[Mapping[str, Any]]:
    """Those below dataset_path, of dataset_extension where it is given."""
    asked = [each for each in files if below(str(each["rfilename"]), options.path)]
    formats = {str(each["rfilename"]): format_of(str(each["rfilename"])) for each in asked}
    readable = sorted({each for each in formats.values() if each})
    wanted = format_of(f"x.{options.extension}") if options.extension else ""
    if not readable or wanted not in ("", *readable):
        where = f" below {options.path}" if options.path else ""
        raise TransferError(
            f"{name} has no file of data{where} that can be read: it must be parquet, json, jsonl,"
            " csv, tsv or arrow; see training_config.DatasetConfig.dataset_path and"
            " dataset_extension"
        )
    if not wanted and len(readable) > 1:
        raise TransferError(
            f"{name} has files of several formats ({', '.join(readable)}), which may be the same"
            " rows: choose one by training_config.DatasetConfig.dataset_extension"
        )
    only = wanted or readable[0]
    return [each for each in asked if formats[str(each["rfilename"])] == only]


def _replace(path: Path, target: Path) -> None:
    """An earlier try may have moved some of it."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    os.replace(path, target)
