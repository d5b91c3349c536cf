"""Names and passwords for registries, as Docker keeps them: one `config.json` a Secret."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from pathlib import Path

from serving.weights.web import DownloadError

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


def basic(directory: Path, registry: str, repository: str) -> str:
    """The value of an Authorization header; empty where no Secret speaks of the registry."""
    best, found = -1, ""
    for file in sorted(directory.glob("*/config.json")):
        for place, value in _entries(file):
            if _is_for(place, registry, repository) and len(place) > best:
                best, found = len(place), value
    return f"Basic {found}" if found else ""


def _entries(file: Path) -> Iterator[tuple[str, str]]:
    try:
        auths = json.loads(file.read_text()).get("auths", {})
        for place, entry in auths.items():
            value = entry.get("auth", "")
            if not value and "username" in entry:
                plain = f"{entry['username']}:{entry.get('password', '')}"
                value = base64.b64encode(plain.encode()).decode()
            base64.b64decode(value, validate=True)
            yield place.partition("://")[2] or place, value
    except (OSError, ValueError, AttributeError, TypeError, binascii.Error):
        # Not what it says, since that would be the secret.
        raise DownloadError(
            f"the pull secret mounted at {file.parent} is no kubernetes.io/dockerconfigjson"
        ) from None


def _is_for(place: str, registry: str, repository: str) -> bool:
    """`registry.example`, or with a part of the path; Docker Hub has an old address, too."""
    host, _, path = place.rstrip("/").partition("/")
    if host in _DOCKER_HUB and registry in _DOCKER_HUB:
        return path in ("", "v1", "v2") or f"{repository}/".startswith(f"{path}/")
    return host == registry and (
        path in ("", "v1", "v2") or f"{repository}/".startswith(f"{path}/")
    )
