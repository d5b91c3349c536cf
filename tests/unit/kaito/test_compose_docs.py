"""docs/workspace/compose.md says of every field what the program does with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kaito.__main__ import main
from kaito.compose.table import TABLE, Fate

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/workspace/compose.md").read_text()


def table() -> str:
    rows = ["| of | in Compose | not said |", "|---|---|---|"]
    for kind, fields in TABLE.items():
        said = [f"`{name}`: {fate.said}" for name, fate in fields.items() if fate.said]
        reasons: dict[Fate, list[str]] = {}
        for name, fate in fields.items():
            if not fate.said:
                reasons.setdefault(fate, []).append(f"`{name}`")
        unsaid = [
            f"**{', '.join(names)}: {fate.why}**"
            if fate.warns
            else f"{', '.join(names)}: {fate.why}"
            for fate, names in reasons.items()
        ]
        rows.append(f"| {kind} | {'; '.join(said)} | {'; '.join(unsaid)} |")
    return "\n".join(rows)


def test_the_table_is_the_programs() -> None:
    assert table() in PAGE


def test_the_example_is_what_the_program_writes(capsys: pytest.CaptureFixture[str]) -> None:
    example = ROOT / "examples/workspace-gemma-3-270m.yaml"
    assert main(["compose", "-f", str(example), "--cloud", "local"]) == 0
    written = capsys.readouterr().out.partition("x-kaito:")[0]
    assert written in PAGE


def test_the_other_example_is_made_of_what_the_program_writes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compose", "-f", str(ROOT / "examples/workspace-phi-4-mini.yaml")]) == 0
    written = capsys.readouterr().out
    _, _, after = PAGE.partition("the server asks for its GPU:")
    for part in after.split("```")[1].removeprefix("yaml\n").split("    …\n"):
        assert part in written


def test_help_names_it() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "kaito", "compose", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    for flag in ("--workspace", "--cpus", "--memory", "--set", "--port", "--name"):
        assert flag in PAGE or flag == "--name"
        assert flag in result.stdout
