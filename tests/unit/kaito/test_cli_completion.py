"""Completion, as kubectl asks a plugin for it and as shells do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kaito import complete, exits
from kaito.__main__ import main

PLUGIN = Path(sys.executable).with_name("kubectl_complete-kaito")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(("exp",), ["explain"], id="a command"),
        pytest.param(("models", "describe", "phi-4-mini"), ["phi-4-mini-instruct"], id="a preset"),
        pytest.param(("status", "-o", "y"), ["yaml"], id="a choice"),
        pytest.param(
            ("estimate", "--cloud", "local", "--instance-type", "local-cpu-2"),
            ["local-cpu-2"],
            id="by what was given before",
        ),
        pytest.param(("explain", ""), [], id="no cluster, no names"),
    ],
)
def test_kubectl_is_told_what_may_follow(
    words: tuple[str, ...], expected: list[str], tmp_path: Path
):
    """In a process of its own: argcomplete keeps a file descriptor of it."""
    environment = os.environ | {"KUBECONFIG": str(tmp_path / "none")}
    asked = subprocess.run(
        [PLUGIN, *words], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    *found, directive = asked.stdout.splitlines()
    assert directive == ":4"
    assert found == expected


@pytest.mark.parametrize("shell", complete.SHELLS)
def test_the_script_of_a_shell_is_for_both_programs(shell: str, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", shell]) == exits.DONE
    script = capsys.readouterr().out
    assert all(program in script for program in complete.PROGRAMS)
