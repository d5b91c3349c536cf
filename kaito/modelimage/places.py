"""Where model images lie: `oci:DIRECTORY[:TAG]` and `docker://REGISTRY/NAME:TAG`, by the words that
skopeo and buildah have for them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from oci.errors import TransferError
from oci.reference import Reference

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LAYOUT, _REGISTRY = "oci:", "docker://"


@dataclass(frozen=True, slots=True)
class InDirectory:
    """An OCI image layout."""

    directory: Path
    tag: str = ""

    def __str__(self) -> str:
        return f"{_LAYOUT}{self.directory}" + (f":{self.tag}" if self.tag else "")


@dataclass(frozen=True, slots=True)
class InRegistry:
    """A repository's image."""

    reference: Reference

    def __str__(self) -> str:
        return f"{_REGISTRY}{self.reference}"


Place: TypeAlias = InDirectory | InRegistry


def parse(text: str, insecure: Collection[str] = ()) -> Place:
    """A registry's without `docker://`, too. TransferError where it is neither."""
    if not text.startswith(_LAYOUT):
        return InRegistry(Reference.parse(text.removeprefix(_REGISTRY), insecure))
    path, colon, tag = text.removeprefix(_LAYOUT).rpartition(":")
    if not colon:
        path, tag = tag, ""
    if not path or (tag and not _TAG.fullmatch(tag)):
        raise TransferError(
            f'"{text}" names no directory; write oci:DIRECTORY or oci:DIRECTORY:TAG'
        )
    return InDirectory(Path(path), tag)
