"""How every command ends, for scripts to rely on."""

from __future__ import annotations

import sys
from collections.abc import Mapping

DONE = 0
NO = 1
UNTOLD = 2

MEANINGS: Mapping[int, str] = {
    DONE: "Done; or the answer is yes: ready, valid, fits, no differences.",
    NO: "The answer is no: not ready, invalid, does not fit, differences found, refused.",
    UNTOLD: "It cannot be told: wrong usage, no such object, a file or cluster not readable.",
}
"""As the reference prints them; `--help` of each command says what its own yes and no are."""


def failed(error: object, status: int = UNTOLD) -> int:
    """Say on stderr what went wrong; the exit status, for `return`."""
    print(f"error: {error}", file=sys.stderr)
    return status
