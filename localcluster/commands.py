"""Running system programs, and saying plainly what failed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


class CommandError(Exception):
    """A program failed; the message has its command line and what it said."""


def run(
    argv: Sequence[str | Path], *, cwd: Path | None = None, timeout_seconds: float | None = None
) -> str:
    """Standard output of a program; raises CommandError where it fails."""
    words = [str(word) for word in argv]
    try:
        result = subprocess.run(
            words, cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(words)}: no end after {timeout_seconds} s") from error
    if result.returncode:
        said = (result.stderr or result.stdout).strip()[-2000:]
        raise CommandError(f"{' '.join(words)}: exit {result.returncode}: {said}")
    return result.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Whether a program ends with 0, for questions and for what may be gone already."""
    result = subprocess.run([str(word) for word in argv], capture_output=True, check=False)
    return result.returncode == 0
