"""The model that goes into an image: files of a directory here, or of a commit of Hugging Face."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub import choice, repository
from hub.choice import Request
from oci.errors import TransferError
from oci.progress import Watch
from oci.web import Web

_REPOSITORY = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<commit>[0-9a-f]{40}))?"
)
_GGUF = ".gguf"
_LATER = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf")


@dataclass(frozen=True, slots=True)
class Source:
    """What is packed, by the names that the files have in the image."""

    name: str
    """The last part of the repository, or the directory's."""
    files: Mapping[str, Path]
    location: str = ""
    """The repository's URL; empty for a directory."""
    commit: str = ""

    @property
    def format(self) -> str:
        """gguf, safetensors or, of older models, pytorch."""
        if any(name.endswith(_GGUF) for name in self.files):
            return "gguf"
        return "safetensors" if any(n.endswith(".safetensors") for n in self.files) else "pytorch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Hugging Face as the user reaches it. `cache` keeps what was downloaded for the next time."""

    endpoint: str
    token: str = field(repr=False)
    cache: Path
    web: Web
    watch: Watch


def load(model: str, request: Request, hub: Hub) -> Source:
    """`model` is a directory, or `owner/name[@commit]`; of `request`, `file` and `load_format` are
    looked at. TransferError where there is no such model, or none that an engine loads."""
    if Path(model).is_dir():
        return _local(Path(model), request)
    match = _REPOSITORY.fullmatch(model)
    if match is None or model.startswith((".", "/")):
        raise TransferError(
            f'MODEL "{model}" is no directory, and no owner/name or owner/name@commit of'
            " Hugging Face"
        )
    return _remote(match["name"], match["commit"] or "", request, hub)


def _local(folder: Path, request: Request) -> Source:
    files = dict(sorted(_walk(folder, folder)))
    listed = [{"rfilename": name} for name in files]
    wanted = _chosen(listed, str(folder), request)
    return Source(folder.resolve().name, {name: files[name] for name in wanted})


def _remote(name: str, commit: str, request: Request, hub: Hub) -> Source:
    found = repository.snapshot(
        name,
        commit or "main",
        hub.web,
        endpoint=hub.endpoint,
        token=hub.token,
        remedy="give a token of Hugging Face by --token-env",
    )
    if commit and found.commit != commit:
        raise TransferError(f"{name} has no commit {commit}")
    wanted = _chosen(found.files, name, request)
    folder = hub.cache / ("models--" + name.replace("/", "--")) / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    blobs = found.fetch(
        [each for each in found.files if each["rfilename"] in wanted],
        folder,
        hub.web,
        hub.watch,
        what=f"the files of {name}",
        remedy="name a directory on another one by --cache",
    )
    return Source(
        name.partition("/")[2],
        {blob.name: folder / blob.key for blob in blobs},
        location=f"{hub.endpoint}/{name}",
        commit=found.commit,
    )


def _chosen(files: list[dict[str, Any]], model: str, request: Request) -> set[str]:
    """The names: as the workload's download chooses, but that a lone GGUF needs not be named."""
    names = [str(each["rfilename"]) for each in files]
    file = request.file
    if not file and all(name.endswith(_GGUF) for name in names if _is_weights(name)):
        file = _lone_gguf(names, model)
    asked = Request(model, file=file, load_format=request.load_format)
    return {str(each["rfilename"]) for each in choice.chosen(files, asked)}


def _is_weights(name: str) -> bool:
    return name.endswith((_GGUF, ".safetensors", ".bin", ".pt", ".pth"))


def _lone_gguf(names: list[str], model: str) -> str:
    """Of a split one its first part; empty where there is none."""
    found = [name for name in names if name.endswith(_GGUF) and not _LATER.search(name)]
    if len(found) > 1:
        raise TransferError(
            f"{model} has several GGUF files; name one by --file: {', '.join(sorted(found))}"
        )
    return found[0] if found else ""


def _walk(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Links followed, as in the cache of Hugging Face; what begins with a dot is left out."""
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), root)
        elif entry.is_file():
            yield Path(entry.path).relative_to(root).as_posix(), Path(entry.path)
