"""Wheels for image builds, fetched on the host, where the user's package index is configured."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from localcluster.binaries import locked
from localcluster.commands import run
from localcluster.progress import Say, stage
from localcluster.tools import architecture

PYTHON = "3.11"
"""Of the images, whatever the host has."""
_NEWEST_GLIBC = 36  # Debian bookworm's 2.36
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


class Wheelhouse:
    """A directory of wheels for each set of locks; complete or absent."""

    def __init__(self, directory: Path, say: Say) -> None:
        self._directory = directory
        self._say = say

    def prepare(self, locks: Sequence[Path]) -> Path:
        """The wheels that the locks name, hashes checked. Those of earlier locks go."""
        key = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()[:16]
        name = "-".join([locks[0].parent.name, *(lock.stem for lock in locks)])
        house = self._directory / f"{name}-{key}"
        with locked(self._directory / f".{name}.lock"):
            if not (house / ".complete").exists():
                forget_others(house, name)
                house.mkdir(exist_ok=True)
                with stage(self._say, f"fetch wheels for {name}"):
                    for lock in locks:
                        run(download_argv(lock, house))
                (house / ".complete").touch()
        return house


def forget_others(place: Path, name: str) -> None:
    """What lies beside it under the same name, with another key of 16 digits."""
    for other in place.parent.glob(f"{name}-{'?' * 16}"):
        if other != place:
            shutil.rmtree(other)


def download_argv(lock: Path, target: Path) -> list[str]:
    """Wheels for the images' Python and C library, never a source package: its build would have
    another hash than the lock says."""
    machine = _ARCHITECTURES.get(architecture(), architecture())
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC, 4, -1)]
    tags += [f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1")]
    platforms = [word for tag in [*tags, f"linux_{machine}"] for word in ("--platform", tag)]
    interpreter = ["--python-version", PYTHON, "--implementation", "cp"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    rules = ["--only-binary", ":all:", "--no-deps", "--require-hashes", *interpreter, *platforms]
    return [*command, *rules, "--requirement", str(lock), "--dest", str(target)]
