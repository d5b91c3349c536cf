"""Names and passwords for registries, as Docker keeps them: `config.json` files."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oci.errors import RegistryError

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_NO_PATH = frozenset({"v1", "v2"})


@dataclass(frozen=True, slots=True)
class Entry:
    """What opens a registry, or a part of it."""

    place: str
    """`registry.example`, or with a part of the path."""
    basic: str
    """User and password in Base64."""

    def __repr__(self) -> str:
        return f"Entry({self.place!r})"


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that we have, in the order of the files."""

    entries: tuple[Entry, ...] = ()

    def basic(self, host: str, name: str) -> tuple[str, ...]:
        """Values of an Authorization header for a repository: the one for the longest part of its
        path first, and among equals in the order of the files."""
        fitting = [entry for entry in self.entries if _is_for(entry.place, host, name)]
        best = sorted(fitting, key=lambda entry: -len(_path(entry.place)))
        return tuple(dict.fromkeys(f"Basic {entry.basic}" for entry in best))


NONE = Credentials()


def load(directory: Path) -> Credentials:
    """Of `config.json` in the directory, and of those in the directories below it (one a Secret).
    A file's path is taken as such a file. RegistryError where one of them is none."""
    files = [directory] if directory.is_file() else []
    files += sorted((*directory.glob("config.json"), *directory.glob("*/config.json")))
    return Credentials(tuple(entry for file in files for entry in _entries(file)))


def _entries(file: Path) -> Iterator[Entry]:
    try:
        auths = json.loads(file.read_text()).get("auths", {})
        for place, entry in auths.items():
            value = entry.get("auth", "")
            if not value and "username" in entry:
                plain = f"{entry['username']}:{entry.get('password', '')}"
                value = base64.b64encode(plain.encode()).decode()
            base64.b64decode(value, validate=True)
            if value:  # else a credential helper of Docker's keeps it
                yield Entry(place.partition("://")[2] or place, value)
    except (OSError, ValueError, AttributeError, TypeError, binascii.Error):
        # Not what it says, since that would be the secret.
        raise RegistryError(
            f"the registry credentials in {file.parent} are no Docker config.json; a pull secret"
            " must be a kubernetes.io/dockerconfigjson"
        ) from None


def _is_for(place: str, host: str, name: str) -> bool:
    """Docker Hub has an old address, too."""
    at = place.partition("/")[0]
    if at != host and not (at in _DOCKER_HUB and host in _DOCKER_HUB):
        return False
    path = _path(place)
    return not path or f"{name}/".startswith(f"{path}/")


def _path(place: str) -> str:
    """Empty where it is all of the registry."""
    path = place.partition("/")[2].rstrip("/")
    return "" if path in _NO_PATH else path
