"""What images there are, and what each is made from.

An image is rebuilt when something that its Dockerfile copies has changed, and only then: its
key is a hash of the Dockerfile, of every file that COPY and ADD name, and of its base.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

REGISTRY = "localhost"
TAG = "0.1.0"
"""Of the project's own images, as the charts' appVersion."""
BASE = "localhost/base:bookworm"
_NOT_CONTENT = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Dockerfile with its context and the name of the image."""

    name: str
    tag: str
    dockerfile: Path
    context: Path
    uses_base: bool = True
    registry: str = REGISTRY
    image: str = ""
    """The image's name in the registry, where it is not the recipe's."""

    @property
    def reference(self) -> str:
        """The image's name, as pods and containerd write it."""
        return f"{self.registry}/{self.image or self.name}:{self.tag}"

    @property
    def locks(self) -> list[Path]:
        """Locked Python requirements that the build installs: those that it copies by name, not
        those that lie in a folder that it copies."""
        named = [each for each in copied(self.dockerfile.read_text()) if each.endswith(".lock")]
        return sorted(path for pattern in named for path in self.context.glob(pattern))

    @property
    def has_torch(self) -> bool:
        """Then its wheels and layers are gigabytes."""
        return any("\ntorch==" in path.read_text() for path in self.locks)

    @property
    def inputs(self) -> list[Path]:
        """The files that the build copies, sorted."""
        found: set[Path] = set()
        for pattern in copied(self.dockerfile.read_text()):
            for path in self.context.glob(pattern.removeprefix("./").rstrip("/") or "*"):
                found.update(_files(path))
        return sorted(found)

    def key(self, *ingredients: str) -> str:
        """Changes with the content of any input and with `ingredients`, with nothing else."""
        digest = hashlib.sha256(json.dumps([self.reference, *ingredients]).encode())
        digest.update(self.dockerfile.read_bytes())
        for path in self.inputs:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            mode = path.stat().st_mode & 0o111
            digest.update(f"{path.relative_to(self.context)}\0{mode}\0{content}\n".encode())
        return digest.hexdigest()[:16]


def copied(dockerfile: str) -> list[str]:
    """The sources of COPY and ADD that come from the context, not from another stage."""
    sources: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0].upper() not in {"COPY", "ADD"}:
            continue
        if any(word.startswith("--from=") for word in words):
            continue
        sources += [word for word in words[1:-1] if not word.startswith("--")]
    return sources


def discover(repository: Path, tag: str) -> list[Recipe]:
    """The project's own images: images/serving/vllm/Dockerfile is kaito-serving-vllm."""
    root = repository / "images"
    return [
        Recipe(
            "-".join(["kaito", *file.parent.relative_to(root).parts]), tag, file, context=repository
        )
        for file in sorted(root.rglob("Dockerfile"))
    ]


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return [
        item
        for item in path.rglob("*")
        if item.is_file() and not _NOT_CONTENT.intersection(item.parts)
    ]
