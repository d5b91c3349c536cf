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


@dataclass(frozen=True)
class Request:
    """Which files of which repository. Empty: the main branch, all that vLLM loads."""

    repository: str
    revision: str = ""
    file: str = ""
    load_format: str = ""

    @property
    def what(self) -> str:
        """The choice among the files of a commit."""
        return f"{self.file}|{self.load_format if self.load_format == MISTRAL else ''}"


def chosen(files: Iterable[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
    """One format of the weights, and what is no weights: configuration, tokenizer, code."""
    kept = [each for each in files if not each["rfilename"].startswith(_ELSEWHERE)]
    rest = [each for each in kept if not each["rfilename"].lower().endswith(_WEIGHTS)]
    if request.file:
        weights = [each for each in kept if _is_part(each["rfilename"], request.file)]
    else:
        weights = _one_format([each for each in kept if each not in rest], request.load_format)
    if not weights:
        raise TransferError(
            f"{request.repository} has no {request.file or 'weights that the engine could load'}"
        )
    return [*weights, *rest]


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


def _is_part(name: str, file: str) -> bool:
    """The file itself, or with it the other parts of a GGUF that was split."""
    first = "-00001-of-"
    if first not in file:
        return name == file
    start, _, end = file.partition(first)
    return name.startswith(f"{start}-") and name.endswith(f"-of-{end}")
