"""What an API server that has our CRDs, and no webhook, says of an object."""

from __future__ import annotations

import re
from typing import Any

import pytest
from workspace_cluster import Cluster

from kube.errors import InvalidError
from kube.meta import Manifest, Resource

_SHOWN = re.compile(r'^Invalid value: (("([^"\\]|\\.)*"|[0-9]+): )?')
"""What the API server puts before a rule's words: the value, or its type."""


async def said(request: Any) -> list[tuple[str, str]]:
    """Field and message of each of the API server's causes."""
    with pytest.raises(InvalidError) as refused:
        await request
    causes = refused.value.details.get("causes") or [{"message": refused.value.message}]
    return [(cause.get("field", ""), _SHOWN.sub("", cause["message"])) for cause in causes]


def located(path: str) -> str:
    """A CRD does not describe what is in `metadata`, so no rule can point there."""
    return "metadata" if path.startswith("metadata.") else path


def here(cluster: Cluster, manifest: Manifest) -> Manifest:
    """In the test's own namespace."""
    metadata = {**manifest["metadata"], "namespace": cluster.namespace}
    return {**manifest, "metadata": metadata}


async def update(cluster: Cluster, kind: Resource[Any], old: Manifest, new: Manifest) -> None:
    """Make `new` of the stored `old`."""
    name, patch = old["metadata"]["name"], _difference(old, new)
    await cluster.client.patch(kind, name, patch, namespace=cluster.namespace)


def _difference(old: Manifest, new: Manifest) -> Manifest:
    """A merge patch that makes `new` of `old`."""
    patch: Manifest = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            patch[key] = _difference(old[key], value)
        elif value != old.get(key):
            patch[key] = value
    return patch
