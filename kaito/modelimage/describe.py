"""What a model image holds: its manifest, its config and its provenance, wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kaito.modelimage.places import InDirectory, Place
from kaito.modelimage.provenance import STATEMENT
from oci import layout
from oci.credentials import Credentials
from oci.errors import TransferError
from oci.image import CONFIG, Packed, digest
from oci.layers import Layer
from oci.registry import Registry
from oci.web import Web

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Description:
    """Read, and not yet put into words."""

    digest: str
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    statement: Mapping[str, Any] | None


def look(place: Place, credentials: Credentials, web: Web) -> Description:
    """TransferError where nothing is there, or what is no image."""
    if isinstance(place, InDirectory):
        stored = layout.read(place.directory, place.tag)
        notes = layout.referrers(place.directory, digest(stored.manifest))
        statement = next((_content(each.blobs[-1]) for each in notes if _is_statement(each)), None)
        return _description(stored.manifest, _content(stored.blobs[0]), statement)
    registry = Registry(place.reference, credentials, web)
    manifest = registry.pull_manifest()
    told = json.loads(manifest)
    if "config" not in told:
        raise TransferError(f"{place} is no image of one platform")
    config = registry.pull_small(told["config"])
    return _description(manifest, config, _statement(registry, digest(manifest)))


def lines(found: Description) -> Iterator[str]:
    """For people."""
    yield found.digest
    for key, value in sorted((found.manifest.get("annotations") or {}).items()):
        yield f"  {key}: {value}"
    layers = found.manifest["layers"]
    history = found.config.get("history") or [{}] * len(layers)
    yield f"{len(layers)} layers, {sum(each['size'] for each in layers) / _MIB:.1f} MiB"
    for layer, past in zip(layers, history, strict=False):
        what = past.get("created_by", layer["mediaType"]).rpartition("build: ")[2]
        yield f"  {layer['digest'][:19]}  {layer['size'] / _MIB:9.1f} MiB  {what}"
    if found.statement is None:
        yield "no provenance"
        return
    predicate = found.statement["predicate"]
    builder = predicate["runDetails"]["builder"]
    version = ", ".join(f"{key} {value}" for key, value in builder.get("version", {}).items())
    yield f"provenance: built by {version or builder['id']} from"
    for each in predicate["buildDefinition"]["resolvedDependencies"]:
        kind, value = next(iter(each["digest"].items()))
        yield f"  {each.get('uri') or each['name']}  {kind}:{value}"


def document(found: Description) -> dict[str, Any]:
    """For programs."""
    return {
        "digest": found.digest,
        "manifest": found.manifest,
        "config": found.config,
        "provenance": found.statement,
    }


def _description(manifest: bytes, config: bytes, statement: bytes | None) -> Description:
    told = json.loads(manifest)
    return Description(
        digest(manifest),
        told,
        json.loads(config) if told["config"]["mediaType"] == CONFIG else {},
        None if statement is None else json.loads(statement),
    )


def _statement(registry: Registry, subject: str) -> bytes | None:
    for each in registry.referrers(subject):
        if each.get("artifactType") == STATEMENT:
            told = json.loads(registry.pull_manifest(each["digest"]))
            return registry.pull_small(told["layers"][0])
    return None


def _is_statement(packed: Packed) -> bool:
    return bool(json.loads(packed.manifest).get("artifactType") == STATEMENT)


def _content(blob: Layer) -> bytes:
    return b"".join(blob.content.chunks())
