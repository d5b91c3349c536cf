"""What images run, run with their own locked libraries on this machine: no cluster, no root."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster import paths, venvs

REPOSITORY = Path(__file__).parents[2]

Engine = Callable[[str], Path]


@pytest.fixture(scope="session")
def python_of() -> Engine:
    """`python_of("images/tuning/requirements-cpu.lock")` is the interpreter of that lock."""

    def of(lock: str) -> Path:
        # What has no torch has nothing to trim.
        trimmed = lock.endswith("-cpu.lock")
        return venvs.python(paths.cache_directory(os.environ), REPOSITORY / lock, trimmed=trimmed)

    return of


@pytest.fixture(scope="session")
def image_environment() -> dict[str, str]:
    """As in the images: our packages found, no hub asked, no usage told."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return {
        **kept,
        "PYTHONPATH": f"{REPOSITORY / 'images'}:{REPOSITORY}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
    }
