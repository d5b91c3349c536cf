"""Manifests: what an image or an artifact consists of, as canonical bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from oci.layers import Layer, bytes_layer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


class Packed(Protocol):
    """What layouts and registries take: a manifest's bytes, and the blobs that it names."""

    @property
    def manifest(self) -> bytes: ...
    @property
    def blobs(self) -> Sequence[Layer]: ...


@dataclass(frozen=True, slots=True)
class Image:
    """An image that container runtimes pull and mount; an artifact where it has no `config`.

    `config` is completed by what runtimes ask of every image: `architecture`, `os` and the
    `rootfs.diff_ids` of its layers. Nothing says when it was made: the same input is the same
    digest. `subject` is the descriptor of the manifest that this one tells something about.
    """

    layers: Sequence[Layer]
    config: Mapping[str, Any] | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    subject: Mapping[str, Any] | None = None

    @property
    def config_layer(self) -> Layer:
        if self.config is None:
            return bytes_layer(b"{}", EMPTY)
        rootfs = {"type": "layers", "diff_ids": [each.diff_id for each in self.layers]}
        return bytes_layer(
            canonical({"architecture": "amd64", "os": "linux", **self.config, "rootfs": rootfs}),
            CONFIG,
        )

    @property
    def manifest(self) -> bytes:
        found: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config_layer.descriptor(),
            "layers": [each.descriptor() for each in self.layers],
        }
        for key, value in (
            ("artifactType", self.artifact_type),
            ("subject", self.subject and dict(self.subject)),
            ("annotations", dict(self.annotations)),
        ):
            if value:
                found[key] = value
        return canonical(found)

    @property
    def blobs(self) -> Sequence[Layer]:
        return (self.config_layer, *self.layers)

    @property
    def digest(self) -> str:
        return digest(self.manifest)


@dataclass(frozen=True, slots=True)
class Stored:
    """One that was read back; its manifest is the bytes that were found."""

    manifest: bytes
    blobs: Sequence[Layer]


def digest(manifest: bytes) -> str:
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def descriptor(packed: Packed, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """As an index, or a `subject`, names the manifest."""
    told = json.loads(packed.manifest)
    found = {
        "mediaType": told.get("mediaType", MANIFEST),
        "digest": digest(packed.manifest),
        "size": len(packed.manifest),
    }
    if kind := told.get("artifactType"):
        found["artifactType"] = kind
    return {**found, "annotations": dict(annotations)} if annotations else found


def canonical(value: Any) -> bytes:
    """JSON with one way to write it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
