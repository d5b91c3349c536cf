"""What the webhook is told of the libraries is what the image's lock has."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from apis.trainingfields import VERSIONS

ROOT = Path(__file__).parents[3]
LOCK = "images/tuning/requirements-cpu.lock"


def test_the_file_is_what_the_locked_libraries_give(
    python_of: Callable[[str], Path], image_environment: dict[str, str]
) -> None:
    checked = subprocess.run(
        [str(python_of(LOCK)), "-m", "tuning.fields", "--check"],
        env=image_environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("lock", [LOCK, "images/tuning/requirements.lock"])
def test_both_locks_have_these_releases(lock: str) -> None:
    text = (ROOT / lock).read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE))
    assert {name: locked[name] for name in VERSIONS} == VERSIONS
