"""Compose files as docker compose loads them: by the Compose project's own library, compose-go.

It judges a file by the specification's JSON schema, puts variables in, and checks that what is
named is there. The program around it is in tests/tools/composespec, built once into the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from localcluster import paths
from localcluster.binaries import locked

HERE = Path(__file__).parent / "tools/composespec"


class InvalidComposeError(Exception):
    """docker compose would not take the file; the message is compose-go's."""


def load(file: Path, **variables: str) -> dict[str, Any]:
    """The project as compose-go reads it, with the shell's `variables`."""
    result = subprocess.run(
        [program(), str(file)],
        env={"PATH": os.environ["PATH"], "HOME": str(file.parent), **variables},
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise InvalidComposeError(result.stderr.strip())
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@cache
def program() -> Path:
    """Built where no run before has: seconds, and what `go.sum` names from the module proxy."""
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in sorted(HERE.iterdir())))
    cache_directory = paths.cache_directory(os.environ) / "bin"
    target = cache_directory / f"composespec-{digest.hexdigest()[:12]}" / "composespec"
    with locked(target.with_name(".lock")):
        if not target.is_file():
            _build(target)
    return target


def _build(target: Path) -> None:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise FileNotFoundError("Compose files are checked with Go: install Go 1.25 or newer")
    made = target.with_name(f".{target.name}")
    subprocess.run(
        [go, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", str(made), "."],
        cwd=HERE,
        env={**os.environ, "CGO_ENABLED": "0"},
        check=True,
    )
    made.rename(target)
