"""What goes wrong for one request does not for the others, and the server goes on; and what a
model cannot do is found out before it is served."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(120)
LOCK = "images/serving/transformers/requirements-cpu.lock"


@pytest.fixture(scope="module")
def found(python_of: Callable[[str], Path], image_environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [str(python_of(LOCK)), str(Path(__file__).with_name("faults.py"))],
        env=image_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("case", "ends"),
    [
        pytest.param("nan", {"bad": "error", "good": "length"}, id="no numbers"),
        pytest.param("undecodable", {"bad": "error", "good": "length"}, id="no text"),
        pytest.param("cold", {"bad": "length", "good": "length"}, id="cold"),
        pytest.param("colder than numbers", {"bad": "length", "good": "length"}, id="colder"),
        pytest.param("given way", {"good": "length", "late": "length"}, id="an adapter that goes"),
        pytest.param("join", {"one": "error", "two": "error", "other": "length"}, id="join"),
        pytest.param("keep", {"one": "length", "two": "error"}, id="leave"),
    ],
)
def test_one_request_is_not_all(found: dict[str, Any], case: str, ends: dict[str, str]) -> None:
    assert found[case] == ends


def test_what_a_model_cannot_is_seen_before_it_is_served(found: dict[str, Any]) -> None:
    assert found["plain"] == {"shares": True, "chunks": True}
    assert found["blind"] == {"shares": False, "chunks": True}
    assert "Forgetful keeps nothing of what it has read" in found["forgetful"]


def test_a_template_is_not_the_clients_to_give(found: dict[str, Any]) -> None:
    known, program = found["template"]
    assert "enable_thinking" in known
    assert program == "refused: chat_template_kwargs: chat_template cannot be set here"
