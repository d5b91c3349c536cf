"""buildah with a store of its own, and what it built.

Everything runs in a mount namespace of its own, so that a build that is killed leaves no mount
behind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster.commands import run, succeeds

OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
REPRODUCIBLE = ("--timestamp", "0", "--identity-label=false")
"""No hour of the build in layers and history, nor the builder's version in the labels."""


@dataclass(frozen=True, slots=True)
class Built:
    """What must be the same for the same input."""

    manifest: str
    """Digest of the OCI manifest, layers compressed: what a registry would call the image."""
    config: str
    layers: tuple[str, ...]


class Buildah:
    """Images in one directory. Needs root."""

    def __init__(self, store: Path, runs: Path) -> None:
        self._where = [f"--root={store}", f"--runroot={runs}", "--storage-driver=overlay"]

    def build(
        self, dockerfile: Path, context: Path, tags: Sequence[str], *options: str | Path
    ) -> None:
        rules = ["--isolation", "chroot", "--layers", "--pull-never", *REPRODUCIBLE]
        named = [word for tag in tags for word in ("--tag", tag)]
        self("bud", *rules, *options, *named, "--file", dockerfile, context)

    def has(self, reference: str) -> bool:
        return succeeds(self._argv("inspect", "--type", "image", reference))

    def save(self, reference: str, archive: Path) -> None:
        """As a docker-archive, which then is there as a whole or not at all."""
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        self("push", reference, f"docker-archive:{partial}:{reference}")
        partial.rename(archive)

    def prune(self) -> None:
        """What has no name: layers and stages of builds."""
        self("rmi", "--prune", "--force")

    def built(self, reference: str, layout: Path) -> Built:
        """Its digests, from an OCI layout that is written for it."""
        self("push", reference, f"oci:{layout}:image")
        manifest = json.loads(layout.joinpath("index.json").read_text())["manifests"][0]["digest"]
        content = json.loads(_blob(layout, manifest).read_text())
        layers = tuple(layer["digest"] for layer in content["layers"])
        return Built(manifest, content["config"]["digest"], layers)

    def __call__(self, *words: str | Path) -> str:
        return run(self._argv(*words))

    def _argv(self, *words: str | Path) -> list[str | Path]:
        return [*OWN_MOUNTS, "buildah", *self._where, *words]


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")
