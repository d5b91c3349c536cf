"""Which files of a model an engine loads: one format of the weights, and what is no weights."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from oci.errors import TransferError

MISTRAL = "mistral"
"""The load format that wants consolidated files."""

_FORMATS = ("*.safetensors", "*.bin", "*.pt")
"""Of weights that vLLM loads; the first that there is, as vLLM takes them."""
_CONSOLIDATED = "consolidated*.safetensors"
_WEIGHTS = (
    *(".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".onnx_data", ".msgpack"),
    *(".h5", ".ot", ".ckpt", ".tflite", ".npz", ".nemo", ".mlmodel"),
)
_ELSEWHERE = ("original/", "metal/", "onnx/", "openvino/", "coreml/", "gguf/")
"""Folders that hold the same weights once more."""
_CONFIG = "config.json"
_ONNX = "onnx/model.onnx"


@dataclass(frozen=True)
class Request:
    """Which files of which repository. Empty: the main branch, all that vLLM loads."""

    repository: str
    revision: str = ""
    file: str = ""
    load_format: str = ""
    folders: bool = False
    """Also those that are models of their own beside the root's, as sentence-transformers has its
    layers (`2_Dense/`); vLLM loads the root alone."""
    onnx: bool = False
    """`onnx/model.onnx` instead of the root's weights, where there is one and no folder beside it
    has weights of its own: of those ONNX Runtime would know nothing."""

    @property
    def what(self) -> str:
        """The choice among the files of a commit."""
        load_format = self.load_format if self.load_format == MISTRAL else ""
        more = f"{'|folders' if self.folders else ''}{'|onnx' if self.onnx else ''}"
        return f"{self.file}|{load_format}{more}"


def chosen(files: Iterable[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
    """One format of the weights, and what is no weights: configuration, tokenizer, code."""
    files = list(files)
    kept = [each for each in files if not each["rfilename"].startswith(_ELSEWHERE)]
    rest = [each for each in kept if not each["rfilename"].lower().endswith(_WEIGHTS)]
    graph = _graph(files) if request.onnx and not _of_folders(kept) else []
    if graph:
        weights = graph
    elif request.file:
        weights = [each for each in kept if _is_part(each["rfilename"], request.file)]
    else:
        weights = _one_format([each for each in kept if each not in rest], request.load_format)
        weights += _of_folders(kept) if request.folders and weights else []
    if not weights:
        raise TransferError(
            f"{request.repository} has no {request.file or 'weights that the engine could load'}"
        )
    return [*weights, *rest]


def _graph(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The graph in float32, and the file of its weights where they are apart; none of its smaller
    variants."""
    graph = [each for each in files if each["rfilename"] == _ONNX]
    return graph and [
        *graph,
        *(each for each in files if each["rfilename"].startswith((f"{_ONNX}_", f"{_ONNX}."))),
    ]


def _one_format(weights: list[dict[str, Any]], load_format: str) -> list[dict[str, Any]]:
    """Of the root folder, which is the one that is loaded."""
    root = [each for each in weights if "/" not in each["rfilename"]]
    consolidated = [each for each in root if fnmatch.fnmatch(each["rfilename"], _CONSOLIDATED)]
    others = [each for each in root if each not in consolidated]
    if load_format == MISTRAL:
        return consolidated
    for pattern in _FORMATS:
        if found := [each for each in others if fnmatch.fnmatch(each["rfilename"], pattern)]:
            return found
    return consolidated


def _of_folders(kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One format of each folder that has a configuration."""
    names = (each["rfilename"] for each in kept)
    configured = {name.removesuffix(_CONFIG) for name in names if name.endswith(f"/{_CONFIG}")}
    found = []
    for folder in sorted(name.rstrip("/") for name in configured):
        inside = [each for each in kept if each["rfilename"].rpartition("/")[0] == folder]
        matching = (
            [each for each in inside if fnmatch.fnmatch(each["rfilename"], pattern)]
            for pattern in _FORMATS
        )
        found += next(filter(None, matching), [])
    return found


def _is_part(name: str, file: str) -> bool:
    """The file itself, or with it the other parts of a GGUF that was split."""
    first = "-00001-of-"
    if first not in file:
        return name == file
    start, _, end = file.partition(first)
    return name.startswith(f"{start}-") and name.endswith(f"-of-{end}")
