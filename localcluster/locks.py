"""Locks as they are written, and the rules for them that need no network.

A lock pins everything that one image, or this working tree, installs: exact versions with hashes,
from no particular place. What is asked for directly has a floor and a ceiling beside it.
"""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")
_ADDRESS = re.compile(
    r"://|^\s*-(?:i|f|e)\b|--(?:extra-)?index-url|--find-links|\s@\s", re.MULTILINE
)
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
_ELSEWHERE = (".venv", "node_modules", ".git")

_ALLOWED = (
    *("apache", "mit", "bsd", "isc", "python software foundation", "psf", "mozilla", "mpl"),
    *("unlicense", "public domain", "zlib", "cc0", "hpnd", "historical permission", "0bsd"),
    *("zope", "artistic", "boost", "lgpl", "lesser general public", "unicode", "cnri"),
)
"""Words of licences with which a package may be installed beside ours."""
ALLOWED_LICENCES = re.compile(rf"\b(?:{'|'.join(_ALLOWED)})(?:v?[0-9][0-9.]*)?\b", re.IGNORECASE)
REFUSED_LICENCES = re.compile(
    r"\ba?gpl|(?<!\blesser )(?<!\blibrary )\bgeneral public licen[cs]e", re.IGNORECASE
)
"""The GPL and AGPL, whatever stands beside them; the LGPL is another word."""
KNOWN_LICENCES = {
    "docutils": "public domain and BSD; the GPL is its Emacs mode's, which is in no wheel",
    "kaito-py": "our own",
}
"""By package: licences that its metadata does not tell; read in its source."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A package of a lock."""

    name: str
    version: str
    hashes: int


def found(root: Path) -> list[Path]:
    """All locks of the working tree."""
    return sorted(
        path for path in root.rglob("*.lock") if not {*path.parts}.intersection(_ELSEWHERE)
    )


def packages(lock: Path) -> list[Locked]:
    """ValueError where a line is no package with an exact version."""
    text = re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE)
    return [_locked(lock, entry) for entry in re.split(r"\n(?=\S)", text) if entry.strip()]


def problems(root: Path) -> Iterator[str]:
    """What is wrong, one sentence each."""
    for lock in found(root):
        name = lock.relative_to(root)
        for each in packages(lock):
            if not each.hashes:
                yield f"{name}: {each.name} has no hash; `make lock` writes them"
        if at := _ADDRESS.search(re.sub(r"#.*$", "", lock.read_text(), flags=re.MULTILINE)):
            yield f"{name} names a place to install from ({at[0].strip()}); leave that to the index"
    for source, requirement in _direct(root):
        operators = {each.operator for each in requirement.specifier}
        if not ("==" in operators or {">=", "<"} <= operators):
            yield f"{source.relative_to(root)}: {requirement} needs a floor and a ceiling"


def licence_problems(root: Path) -> Iterator[str]:
    """Of packages whose metadata is at hand, since they are installed here."""
    names = {canonicalize_name(each.name) for lock in found(root) for each in packages(lock)}
    for name in sorted(names - KNOWN_LICENCES.keys()):
        try:
            told = licence(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if REFUSED_LICENCES.search(told) or not ALLOWED_LICENCES.search(told):
            yield f"{name} has the licence {told or 'of no name'!r}, which is on no list"


def licence(name: str) -> str:
    """As the installed package tells it: its expression, its classifiers, or the first line of its
    text. PackageNotFoundError."""
    metadata = importlib.metadata.metadata(name)
    classifiers = metadata.get_all("Classifier") or []
    told = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")]
    named = [metadata[key] for key in ("License-Expression", "License") if key in metadata]
    first = [each.strip().partition("\n")[0] for each in named]
    return " / ".join(filter(None, [*told, *first]))


def _locked(lock: Path, entry: str) -> Locked:
    match = _ENTRY.match(entry)
    if match is None:
        raise ValueError(f"{lock}: no package with an exact version: {entry.splitlines()[0]}")
    return Locked(match["name"], match["version"], len(_HASH.findall(entry)))


def _direct(root: Path) -> Iterator[tuple[Path, Requirement]]:
    """What is asked for directly, by the file that asks."""
    project = root / "pyproject.toml"
    told = tomllib.loads(project.read_text())
    lists = [
        told["project"]["dependencies"],
        *told["project"].get("optional-dependencies", {}).values(),
        *told.get("dependency-groups", {}).values(),
        told["build-system"]["requires"],
    ]
    yield from ((project, Requirement(line)) for each in lists for line in each)
    for source in sorted((root / "images").rglob("*.in")):
        lines = (line.partition("#")[0].strip() for line in source.read_text().splitlines())
        yield from ((source, Requirement(line)) for line in lines if line and line[0] != "-")
