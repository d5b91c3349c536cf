"""Where an image's files are from: an in-toto statement with SLSA's provenance, attached to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaito.modelimage.source import Source
from kaito.version import DISTRIBUTION, distribution
from oci.image import Image, Packed, canonical, descriptor, digest
from oci.layers import bytes_layer

STATEMENT = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://kaito.sh/model-image/v1"
_BUILDER = "https://kaito.sh/kaito-py/model-image"


def attached(source: Source, packed: Packed, files: Mapping[str, str], version: str = "") -> Image:
    """The artifact that names the image as its subject. `files`: digests by name; `version` is
    the builder's. There is no time in it, so the same build is the same statement."""
    statement = canonical(_statement(source, packed, files, version or distribution()))
    layer = bytes_layer(statement, STATEMENT)
    return Image(
        [layer],
        annotations={"in-toto.io/predicate-type": PREDICATE},
        artifact_type=STATEMENT,
        subject=descriptor(packed),
    )


def _statement(
    source: Source, packed: Packed, files: Mapping[str, str], version: str
) -> dict[str, Any]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": source.name, "digest": _digest_set(digest(packed.manifest))}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"model": source.location or source.name},
                "resolvedDependencies": [
                    *_repository(source),
                    *(
                        {"name": name, "digest": _digest_set(found)}
                        for name, found in sorted(files.items())
                    ),
                ],
            },
            "runDetails": {"builder": {"id": _BUILDER, "version": {DISTRIBUTION: version}}},
        },
    }


def _repository(source: Source) -> list[dict[str, Any]]:
    if not source.location:
        return []
    uri = f"git+{source.location}@{source.commit}"
    return [{"uri": uri, "digest": {"gitCommit": source.commit}}]


def _digest_set(found: str) -> dict[str, str]:
    return {"sha256": found.partition(":")[2]}
