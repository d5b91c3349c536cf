"""The programs' files: the user's, else cached, else downloaded, else built.

Safe when two runs want the same program at once: one makes it under a lock, whole or not
at all, the other waits and finds it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster import download, paths
from localcluster.progress import Say, stage, to_stderr
from localcluster.tools import HERE, TOOLS, Tool


class BinaryError(Exception):
    """A program cannot be had; the message says why and what would help."""


class Binaries:
    """Finds programs by name, makes them where need be."""

    def __init__(
        self, cache: Path | None = None, assets: Path | None = None, say: Say = to_stderr
    ) -> None:
        self._cache = (cache or paths.cache_directory()) / "bin"
        self._assets = assets
        self._say = say
        self._unreachable: set[str] = set()

    def path(self, name: str) -> Path:
        """The program's file; the first call may take minutes where it must be built."""
        tool = TOOLS[name]
        if self._assets is not None and (self._assets / name).is_file():
            return self._assets / name
        cached = self.cached(tool)
        if not cached.is_file():
            with locked(cached.with_name(f".{name}.lock")):
                if not cached.is_file():
                    self._make(tool, cached)
        return cached

    def paths(self, names: Iterable[str]) -> dict[str, Path]:
        return {name: self.path(name) for name in names}

    def cached(self, tool: Tool) -> Path:
        """Where the cache has, or would have, the program."""
        return self._cache / tool.cache_key / tool.name

    def _make(self, tool: Tool, target: Path) -> None:
        if (release := tool.release) is None:
            self._build(tool, target)
            return
        try:
            self._say(f"look for a release of {tool.name} {tool.version}")
            download.fetch(release, target, self._unreachable)
        except download.DownloadError as error:
            self._say(f"no release of {tool.name}: {error}; building it from source")
            self._build(tool, target)

    def _build(self, tool: Tool, target: Path) -> None:
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        if go is None:
            raise BinaryError(
                f"{tool.name} {tool.version} is neither cached nor downloadable, and there is no "
                "Go to build it: install Go 1.25 or newer, or put the program into the directory "
                "that KUBEBUILDER_ASSETS names"
            )
        with (
            stage(self._say, f"build {tool.name} {tool.version} (minutes, once)"),
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch,
        ):
            made = Path(scratch) / tool.name
            command = ["env", "CGO_ENABLED=0", go, "build", *build_flags(tool)]
            result = subprocess.run(
                [*command, "-o", str(made), tool.package],
                cwd=HERE / tool.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode:
                raise BinaryError(f"go build of {tool.name} failed:\n{result.stderr[-2000:]}")
            made.rename(target)


def build_flags(tool: Tool) -> list[str]:
    """Of `go build`: the same source gives the same file anywhere."""
    tags = ["-tags", ",".join(tool.tags)] if tool.tags else []
    return ["-mod=readonly", "-trimpath", *tags, "-ldflags", tool.ldflags]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock among all processes; the kernel releases it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
