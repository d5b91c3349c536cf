"""An adapter of Hugging Face: its configuration and its weights, of one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub import repository as repositories
from hub.repository import ENDPOINT, Snapshot
from oci.errors import TransferError
from oci.web import Web
from serving.adapters.archive import CONFIG
from serving.weights.hub import SECRET

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
"""The first that there is."""


def fetch(source: str, folder: Path, web: Web, *, endpoint: str = "", token: str = "") -> str:
    """`owner/repo[@commit]` into the folder, verified; the commit that it was of. TransferError
    where it cannot be had."""
    repository, _, revision = source.partition("@")
    endpoint = endpoint.rstrip("/") or ENDPOINT
    found = repositories.snapshot(
        repository, revision or "main", web, endpoint=endpoint, token=token, remedy=SECRET
    )
    wanted = _wanted(source, found)
    folder.mkdir(parents=True, exist_ok=True)
    for blob in found.fetch(wanted, folder, web):
        (folder / blob.key).rename(folder / blob.name)
    return found.commit


def _wanted(source: str, found: Snapshot) -> list[dict[str, Any]]:
    files = {each["rfilename"]: each for each in found.files}
    if CONFIG not in files:
        raise TransferError(f"{source} of Hugging Face has no {CONFIG}: it is no LoRA adapter")
    weights = next((name for name in _WEIGHTS if name in files), "")
    if not weights:
        raise TransferError(f"{source} of Hugging Face has none of: {', '.join(_WEIGHTS)}")
    return [files[CONFIG], files[weights]]
