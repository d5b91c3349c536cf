"""What a build leaves, and what it takes away."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from localcluster import images
from localcluster.binaries import Binaries
from localcluster.images import Builder
from localcluster.recipes import Recipe


class FakeBuildah:
    def __init__(self) -> None:
        self.did: list[str] = []

    def build(self, *_: object) -> None:
        self.did.append("build")

    def save(self, _: str, archive: Path) -> None:
        archive.touch()

    def prune(self) -> None:
        self.did.append("prune")


@pytest.mark.parametrize(("free_gib", "did"), [(50, ["build"]), (3, ["prune", "build"])])
def test_layers_of_earlier_builds_go_where_the_disk_is_short(
    free_gib: int, did: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=free_gib << 30)
    monkeypatch.setattr(images, "shutil", SimpleNamespace(disk_usage=lambda _: usage))
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\n")
    (tmp_path / "cache/images").mkdir(parents=True)
    builder = Builder(tmp_path / "cache", cast("Binaries", None), lambda _: None)
    buildah: Any = FakeBuildah()
    builder._buildah = buildah
    recipe = Recipe("pause", "1", dockerfile, tmp_path, uses_base=False)
    archive = builder.build(recipe)
    assert buildah.did == did
    builder.build(recipe)
    assert buildah.did == did
    assert archive.path.exists()
