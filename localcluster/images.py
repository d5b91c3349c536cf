"""Images without a registry and without Docker: built by buildah, kept as docker-archives.

Everything runs in a mount namespace of its own, so that a build that is killed leaves no
mount behind.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localcluster import nodeconfig
from localcluster.binaries import Binaries, locked
from localcluster.commands import run, succeeds
from localcluster.progress import Say, stage, to_stderr
from localcluster.recipes import BASE, Recipe
from localcluster.tools import TOOLS
from localcluster.wheelhouse import Wheelhouse

HERE = Path(__file__).parent
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "libgomp1", "libnuma1", "python3", "python3-venv")
_NO_DOCUMENTATION = tuple(
    f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")
)
_OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private"]


@dataclass(frozen=True, slots=True)
class Archive:
    """A built image."""

    reference: str
    key: str
    path: Path  # a docker-archive


class Builder:
    """Builds images into the cache; what is there already is not built again."""

    def __init__(self, cache: Path, binaries: Binaries, say: Say = to_stderr) -> None:
        self._cache = cache
        self._directory = cache / "images"
        self._binaries = binaries
        self._say = say
        self._wheels = Wheelhouse(cache / "wheels", say)

    def build(self, recipe: Recipe) -> Archive:
        """The image of a recipe, as an archive."""
        with locked(self._directory / f".{recipe.name}.lock"):
            base_key = self._base_key() if recipe.uses_base else ""
            key = recipe.key(base_key)
            archive = self._directory / f"{recipe.name}-{key}.tar"
            if not archive.exists():
                with stage(self._say, f"build image {recipe.reference}"):
                    self._build(recipe, archive)
                self._forget_others(recipe.name, archive)
            return Archive(recipe.reference, key, archive)

    def base(self) -> Archive:
        """The Debian that the project's images start from, as an image of its own."""
        key = hashlib.sha256(self._base_key().encode()).hexdigest()[:16]
        archive = self._directory / f"base-{key}.tar"
        with locked(self._directory / ".base-archive.lock"):
            if not archive.exists():
                self._require_base()
                self._push(BASE, archive)
        return Archive(BASE, key, archive)

    def system(self) -> list[Archive]:
        """The images that every cluster needs."""
        return [self.build(self._pause()), self.build(self._coredns())]

    def coredns_reference(self) -> str:
        return f"localhost/coredns:{TOOLS['coredns'].version}"

    def _build(self, recipe: Recipe, archive: Path) -> None:
        options: list[str] = []
        if recipe.uses_base:
            self._require_base()
            options += ["--build-arg", f"BASE={BASE}"]
        if recipe.locks:
            options += ["--volume", f"{self._wheels.prepare(recipe.locks)}:/wheels:ro"]
        options += ["--tag", recipe.reference, "--file", str(recipe.dockerfile)]
        rules = ["--isolation", "chroot", "--layers", "--pull-never"]
        self._buildah("bud", *rules, *options, recipe.context)
        self._push(recipe.reference, archive)

    def _push(self, reference: str, archive: Path) -> None:
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        self._buildah("push", reference, f"docker-archive:{partial}:{reference}")
        partial.rename(archive)

    def _base_key(self) -> str:
        return f"{SUITE}-{'-'.join(PACKAGES)}"

    def _require_base(self) -> None:
        """The Debian that images start from; made from Debian's own packages."""
        with locked(self._directory / ".base.lock"):
            tar = self._directory / f"debian-{self._base_key()}.tar"
            if not tar.exists():
                with stage(self._say, f"make the Debian base ({SUITE})"):
                    partial = tar.with_suffix(".partial.tar")
                    command = ["mmdebstrap", "--quiet", "--variant=minbase", *_NO_DOCUMENTATION]
                    include = f"--include={','.join(PACKAGES)}"
                    run([*_OWN_MOUNTS, *command, include, SUITE, partial])
                    partial.rename(tar)
            marker = f"localhost/base-key:{self._base_key()}"
            if not succeeds(self._buildah_argv("inspect", "--type", "image", marker)):
                self._import_base(tar, marker)

    def _import_base(self, tar: Path, marker: str) -> None:
        context = self._directory / "base-context"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        context.joinpath("Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        context.joinpath("base.tar").hardlink_to(tar)
        self._buildah("bud", "--isolation", "chroot", "--tag", BASE, "--tag", marker, context)
        shutil.rmtree(context)

    def _pause(self) -> Recipe:
        """Compiled at the first use."""
        name, _, tag = nodeconfig.PAUSE_IMAGE.removeprefix("localhost/").partition(":")
        source = HERE / "pause"
        context = self._directory / f"pause-context-{tag}"
        program = context / "pause"
        if not program.exists():
            context.mkdir(parents=True, exist_ok=True)
            partial = context / "pause.partial"
            run(["cc", "-Os", "-static", "-s", "-o", partial, source / "pause.c"])
            partial.rename(program)
        return Recipe(name, tag, source / "Dockerfile", context, uses_base=False)

    def _coredns(self) -> Recipe:
        program = self._binaries.path("coredns")
        name, _, tag = self.coredns_reference().removeprefix("localhost/").partition(":")
        return Recipe(name, tag, HERE / "coredns/Dockerfile", program.parent, uses_base=False)

    def _forget_others(self, name: str, archive: Path) -> None:
        """Older builds of an image only fill the disk."""
        for other in self._directory.glob(f"{name}-{'?' * 16}.tar"):
            if other != archive:
                other.unlink()

    def _buildah(self, *words: str | Path) -> str:
        return run(self._buildah_argv(*words))

    def _buildah_argv(self, *words: str | Path) -> list[str | Path]:
        store = f"--root={self._cache / 'buildah'}"
        run_store = f"--runroot={self._cache / 'buildah-run'}"
        return [*_OWN_MOUNTS, "buildah", store, run_store, "--storage-driver=overlay", *words]


def by_reference(archives: Iterable[Archive]) -> dict[str, tuple[str, Path]]:
    """As `Template.load` takes them."""
    return {archive.reference: (archive.key, archive.path) for archive in archives}
