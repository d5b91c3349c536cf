"""Sequences that join, leave and give way say what they would say alone, in three kinds of model:
with attention, with sliding windows, and with a state that cannot be padded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
LOCK = "images/serving/transformers/requirements-cpu.lock"


@pytest.fixture(scope="module")
def found(
    python_of: Callable[[str], Path], image_environment: dict[str, str]
) -> dict[str, dict[str, Any]]:
    script = Path(__file__).with_name("batches.py")
    done = subprocess.run(
        [str(python_of(LOCK)), str(script)],
        env=image_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("room", ["roomy", "narrow"])
@pytest.mark.parametrize("model", ["llama", "gemma", "mamba"])
def test_together_as_alone(found: dict[str, dict[str, Any]], model: str, room: str) -> None:
    assert found[model][room]["answers"] == found[model]["alone"]
    assert set(found[model][room]["reasons"]) == {"length"}


@pytest.mark.parametrize("model", ["llama", "gemma", "mamba"])
def test_without_room_the_youngest_gives_way(found: dict[str, dict[str, Any]], model: str) -> None:
    with_room, without = found[model]["preemptions"]
    assert with_room == 0
    assert without > 0


@pytest.mark.parametrize(
    ("model", "shares"),
    [
        pytest.param("llama", True, id="attention"),
        pytest.param("gemma", True, id="sliding windows"),
        pytest.param("mamba", False, id="a state"),
    ],
)
def test_what_can_share_a_step(found: dict[str, dict[str, Any]], model: str, shares: bool) -> None:
    assert found[model]["roomy"]["shares"] == found[model]["roomy"]["chunks"] == shares
