"""What is told about a manifest by others that name it as their `subject`."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from oci.connection import Connection
from oci.errors import NotFoundError
from oci.image import INDEX, Packed, canonical, descriptor
from oci.web import RefusedError


def read(connection: Connection, subject: str) -> list[dict[str, Any]]:
    """Their descriptors: by the registry's list, or by the tag that takes its place."""
    url = f"{connection.reference.url}/referrers/{subject}"
    try:
        body, _ = connection.ask("GET", url, {})
    except RefusedError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return _tagged(connection, subject)
    found: list[dict[str, Any]] = json.loads(body).get("manifests") or []
    return found


def add(connection: Connection, subject: str, packed: Packed) -> None:
    """For registries without such a list: an index, under a tag made of the digest."""
    own = descriptor(packed, json.loads(packed.manifest).get("annotations"))
    others = [each for each in _tagged(connection, subject) if each["digest"] != own["digest"]]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, own]}
    connection.put_manifest(_tag(subject), canonical(index), INDEX)


def _tagged(connection: Connection, subject: str) -> list[dict[str, Any]]:
    try:
        index = json.loads(connection.get_manifest(_tag(subject)))
    except NotFoundError:
        return []
    found: list[dict[str, Any]] = index.get("manifests") or []
    return found


def _tag(subject: str) -> str:
    return subject.replace(":", "-")
