"""Locked requirements: within the bounds that were asked for, hashed, from no particular place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "images"
SOURCES = {
    IMAGES / "controllers/requirements.lock": ROOT / "pyproject.toml",
    IMAGES / "controllers/build.lock": IMAGES / "controllers/build.in",
    IMAGES / "serving/llamacpp/requirements.lock": IMAGES / "serving/llamacpp/requirements.in",
    IMAGES / "serving/transformers/requirements.lock": (
        IMAGES / "serving/transformers/requirements.in"
    ),
    IMAGES / "serving/transformers/requirements-cpu.lock": (
        IMAGES / "serving/transformers/requirements-cpu.in"
    ),
    IMAGES / "serving/vllm/requirements.lock": IMAGES / "serving/vllm/requirements.in",
    IMAGES / "serving/vllm/requirements-cpu.lock": IMAGES / "serving/vllm/requirements-cpu.in",
    IMAGES / "rag/requirements.lock": IMAGES / "rag/requirements.in",
    IMAGES / "rag/requirements-cpu.lock": IMAGES / "rag/requirements-cpu.in",
    IMAGES / "tuning/requirements.lock": IMAGES / "tuning/requirements.in",
    IMAGES / "tuning/requirements-cpu.lock": IMAGES / "tuning/requirements-cpu.in",
}
LOCKS = [pytest.param(lock, id=str(lock.relative_to(IMAGES))) for lock in SOURCES]


def asked(source: Path) -> list[Requirement]:
    if source.suffix == ".toml":
        lines = tomllib.loads(source.read_text())["project"]["dependencies"]
    else:
        lines = [line.partition("#")[0].strip() for line in source.read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def left_out(lock: Path) -> set[str]:
    """What the image does without, with the reason beside it."""
    overrides = lock.parent / "overrides.txt"
    lines = overrides.read_text().splitlines() if overrides.exists() else []
    return {line.split(" ;")[0] for line in lines if line.endswith('; python_version < "3"')}


def locked(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", lock.read_text(), re.MULTILINE))


def test_every_lock_is_judged() -> None:
    assert set(IMAGES.rglob("*.lock")) == set(SOURCES)


@pytest.mark.parametrize("lock", LOCKS)
def test_what_was_asked_for_is_within_its_bounds(lock: Path) -> None:
    versions = locked(lock)
    for requirement in asked(SOURCES[lock]):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert {">=", "<"} <= operators, f"{requirement} needs a floor and a ceiling"
        if requirement.name not in left_out(lock):
            assert versions[requirement.name.lower()] in requirement.specifier, requirement.name


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_has_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE))
    assert entries
    for entry in filter(None, entries):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize("lock", LOCKS)
def test_no_address_is_in_a_lock(lock: Path) -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ file", lock.read_text())


def test_controllers_do_not_carry_an_engine() -> None:
    assert not {"torch", "vllm", "xllamacpp"} & set(
        locked(IMAGES / "controllers/requirements.lock")
    )


def test_the_build_backend_is_the_projects() -> None:
    (wanted,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert asked(IMAGES / "controllers/build.in") == [Requirement(wanted)]
