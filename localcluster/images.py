"""Images without a registry and without Docker: built by buildah, kept as docker-archives."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from localcluster import nodeconfig
from localcluster.binaries import Binaries, locked
from localcluster.buildah import OWN_MOUNTS, Buildah, Built
from localcluster.commands import run
from localcluster.progress import Say, stage, to_stderr
from localcluster.recipes import BASE, Recipe
from localcluster.sbom import document, read, wheel_hashes
from localcluster.tools import TOOLS
from localcluster.wheelhouse import Wheelhouse

HERE = Path(__file__).parent
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "libgomp1", "libnuma1", "python3", "python3-venv")
_ROOM_BYTES = 12 << 30
"""What the largest image takes while it is built: its environment, its layer, its archive."""
_NO_DOCUMENTATION = (
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)


@dataclass(frozen=True, slots=True)
class Archive:
    """A built image."""

    reference: str
    key: str
    path: Path  # a docker-archive

    @property
    def sbom(self) -> Path:
        """What the image is made of, as CycloneDX; only the project's own images have one."""
        return self.path.with_suffix(".cdx.json")


class Builder:
    """Builds images into the cache; what is there already is not built again."""

    def __init__(self, cache: Path, binaries: Binaries, say: Say = to_stderr) -> None:
        self._cache = cache
        self._directory = cache / "images"
        self._binaries = binaries
        self._say = say
        self._wheels = Wheelhouse(cache / "wheels", say)
        self._buildah = Buildah(cache / "buildah", cache / "buildah-run")

    def build(self, recipe: Recipe) -> Archive:
        """The image of a recipe, as an archive."""
        with locked(self._directory / f".{recipe.name}.lock"):
            base_key = self._base_key() if recipe.uses_base else ""
            key = recipe.key(base_key)
            path = self._directory / f"{recipe.name}-{key}.tar"
            archive = Archive(recipe.reference, key, path)
            if not path.exists():
                self._make_room()
                with stage(self._say, f"build image {recipe.reference}"):
                    self._build(recipe, archive)
                self._forget_others(recipe.name, path)
            if recipe.uses_base and not archive.sbom.exists():
                wheels = wheel_hashes(self._wheels.prepare(recipe.locks)) if recipe.locks else {}
                archive.sbom.write_text(document(read(path), wheels))
            return archive

    def base(self) -> Archive:
        """The Debian that the project's images start from, as an image of its own."""
        key = hashlib.sha256(self._base_key().encode()).hexdigest()[:16]
        archive = self._directory / f"base-{key}.tar"
        with locked(self._directory / ".base-archive.lock"):
            if not archive.exists():
                self._require_base()
                self._buildah.save(BASE, archive)
        return Archive(BASE, key, archive)

    def system(self) -> list[Archive]:
        """The images that every cluster needs."""
        return [self.build(self._pause()), self.build(self._coredns())]

    def coredns_reference(self) -> str:
        return f"localhost/coredns:{TOOLS['coredns'].version}"

    def build_twice(self, recipe: Recipe) -> tuple[Built, Built]:
        """The digests of two builds from nothing but the recipe's inputs and the base: no layer, no
        store and no file of an earlier build has part in them."""
        base = self.base()
        with TemporaryDirectory(prefix="build-twice-", dir=self._cache) as name:
            place = Path(name)
            context = place / "context"
            for path in (recipe.dockerfile, *recipe.inputs):
                copy = context / path.relative_to(recipe.context)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)  # not its times
            again = replace(
                recipe,
                context=context,
                dockerfile=context / recipe.dockerfile.relative_to(recipe.context),
            )
            with stage(self._say, f"build image {recipe.reference} from nothing, twice"):
                return self._anew(again, base, place / "1"), self._anew(again, base, place / "2")

    def _anew(self, recipe: Recipe, base: Archive, place: Path) -> Built:
        buildah = Buildah(place / "store", place / "runs")
        buildah("pull", "--quiet", f"docker-archive:{base.path}")
        options = self._options(recipe)
        buildah.build(recipe.dockerfile, recipe.context, [recipe.reference], *options)
        built = buildah.built(recipe.reference, place / "layout")
        shutil.rmtree(place)
        return built

    def _build(self, recipe: Recipe, archive: Archive) -> None:
        if recipe.uses_base:
            self._require_base()
        options = self._options(recipe)
        self._buildah.build(recipe.dockerfile, recipe.context, [recipe.reference], *options)
        self._buildah.save(recipe.reference, archive.path)

    def _make_room(self) -> None:
        """Layers of earlier builds make the next one faster, and nothing else: they go where the
        disk is short."""
        if shutil.disk_usage(self._cache).free < _ROOM_BYTES:
            with stage(self._say, "give up layers of earlier builds: the disk is short"):
                self._buildah.prune()

    def _options(self, recipe: Recipe) -> list[str]:
        options: list[str] = []
        if recipe.uses_base:
            options += ["--build-arg", f"BASE={BASE}", "--build-arg", f"VERSION={recipe.tag}"]
        if recipe.locks:
            options += ["--volume", f"{self._wheels.prepare(recipe.locks)}:/wheels:ro"]
        return options

    def _base_key(self) -> str:
        made = json.dumps([_NO_DOCUMENTATION, PACKAGES])
        return f"{SUITE}-{hashlib.sha256(made.encode()).hexdigest()[:16]}"

    def _require_base(self) -> None:
        """The Debian that images start from; made from Debian's own packages."""
        with locked(self._directory / ".base.lock"):
            tar = self._directory / f"debian-{self._base_key()}.tar"
            if not tar.exists():
                with stage(self._say, f"make the Debian base ({SUITE})"):
                    partial = tar.with_suffix(".partial.tar")
                    command = ["mmdebstrap", "--quiet", "--variant=minbase", *_NO_DOCUMENTATION]
                    include = f"--include={','.join(PACKAGES)}"
                    dated = ["env", "SOURCE_DATE_EPOCH=1"]
                    run([*OWN_MOUNTS, *dated, *command, include, SUITE, partial])
                    partial.rename(tar)
            marker = f"localhost/base-key:{self._base_key()}"
            if not self._buildah.has(marker):
                self._import_base(tar, marker)

    def _import_base(self, tar: Path, marker: str) -> None:
        context = self._directory / "base-context"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        context.joinpath("Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        context.joinpath("base.tar").hardlink_to(tar)
        self._buildah.build(context / "Dockerfile", context, [BASE, marker])
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
        for other in self._directory.glob(f"{name}-{'?' * 16}.*"):
            if other != archive:
                other.unlink()


def by_reference(archives: Iterable[Archive]) -> dict[str, tuple[str, Path]]:
    """As `Template.load` takes them."""
    return {archive.reference: (archive.key, archive.path) for archive in archives}
